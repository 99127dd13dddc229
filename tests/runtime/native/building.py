"""Builds of the native library's sources, for tests of what it does not show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import sparsegen

HERE = Path(__file__).parent
SOURCES = Path(sparsegen.__file__).parent / "runtime" / "native" / "src"
_FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-pthread")


def build(output: Path, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
    """Make a program of C files, or a library by `-shared`; a warning is an error."""
    command = ["gcc", *_FLAGS, f"-I{SOURCES}", *flags, "-o", str(output), *map(str, sources), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


def library(folder: Path, *sources: Path) -> Path:
    """Make a shared library."""
    return build(folder / "library.so", *sources, flags=("-shared", "-fPIC"))
