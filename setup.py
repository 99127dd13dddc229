"""The one setting that pyproject.toml has no words for: found packages, and one from another folder."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["sparsegen", "sparsegen.*"]), "sparsegen.schedules"],
    package_dir={"sparsegen.schedules": "schedules"},
)
