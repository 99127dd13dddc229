"""Files: those of results, refused before the long work starts, not after it; and temporary ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsegen.errors import FileError, ToolchainError


def check_writable(option: str, path: Path) -> None:
    """Raise SparsegenError, which names the command's option, for a path that cannot be written."""
    if path.is_dir():
        raise FileError(f"{option} {path} is a folder: give the path of a file")
    if not path.parent.is_dir():
        raise FileError(f"{option} {path}: there is no folder {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise FileError(f"{option} {path} cannot be written: choose another path, or allow writing to it")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write to `path` into a SparsegenError: the disk may have filled since the check."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot write {error.filename or path}: {error.strerror}") from error


@contextmanager
def temporary_files() -> Iterator[None]:
    """Turn a failure to write a temporary file into a SparsegenError that says what to do."""
    try:
        yield
    except OSError as error:
        raise ToolchainError(
            f"a temporary file cannot be written ({error.strerror}); {temporary_room()}"
        ) from error


def temporary_room() -> str:
    """Where temporary files go, how much they may take, and what to do about it."""
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"no folder for temporary files can be written ({error.strerror}): set TMPDIR to one that can"
    return f"temporary files go to {folder}, which has {free / 1e6:,.0f} MB free: TMPDIR may name another"
