"""What pyproject.toml has no words for: a library with a name of its own, and a wheel for every Python 3."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
SOURCES = sorted(str(source.relative_to(HERE)) for source in HERE.glob("src/*.c"))


class BuildLibrary(build_ext):
    """Names the library as linkers look for it; nothing of it is Python's."""

    def get_ext_filename(self, fullname):
        return f"{fullname.replace('.', '/')}.so"


class AnyPython(bdist_wheel):
    """A wheel that depends on the platform and on no version of Python."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setup(
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
    ext_modules=[
        Extension(
            "sparsegen_runtime.libsparsegen_runtime",
            SOURCES,
            include_dirs=["include"],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"],
            # Sleeping threads are inside the library for as long as the threads last that they work for.
            extra_link_args=["-pthread", "-Wl,-z,nodelete"],
        )
    ],
)
