"""Files that results are written to: refused before the long work starts, not after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsegen.errors import FileError


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
