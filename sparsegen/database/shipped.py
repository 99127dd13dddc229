"""The files of schedules that come with the package; reading them takes neither torch nor TVM."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

_PACKAGE = "sparsegen.schedules"


def shipped_files() -> list[Traversable]:
    """The exported files, one a CPU family, by name."""
    files = (file for file in resources.files(_PACKAGE).iterdir() if file.name.endswith(".json"))
    return sorted(files, key=lambda file: file.name)
