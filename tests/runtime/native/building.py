"""Builds of the native library's sources, for tests of what it does not show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import sparsegen

HERE = Path(__file__).parent
NATIVE = Path(sparsegen.__file__).parent / "runtime" / "native"
SOURCES, INCLUDE = NATIVE / "src", NATIVE / "sparsegen_runtime" / "include"
_FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-pthread")


def build(output: Path, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
    """Make a program of C files, or a library by `-shared`; a warning is an error."""
    command = ["gcc", *_FLAGS, f"-I{SOURCES}", *flags, "-o", str(output), *map(str, sources), "-ldl", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


def library(folder: Path, *sources: Path) -> Path:
    """Make a shared library."""
    return build(folder / "library.so", *sources, flags=("-shared", "-fPIC"))


def build_with_runtime(output: Path, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
    """Make a program of C files and all of the runtime's."""
    own = sorted(SOURCES.glob("*.c"))
    return build(output, *sources, *own, flags=(f"-I{INCLUDE}", *flags))
