"""A temporary folder that other tuners leave alone for as long as its owner lives, and remove afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from sparsegen.files import temporary_files

_PREFIX = "sparsegen-candidates-"


class OwnFolder:
    """A new folder, which is this process's by a lock; those of owners that were killed are removed first.

    The lock is the kernel's, `flock` of the folder itself, and ends with the process, however that ends.
    A process's number would not tell whether it lives: containers that share a temporary folder each
    have their own numbers.

    Raises ToolchainError where no folder can be made.
    """

    def __init__(self) -> None:
        _remove_leftovers()
        with temporary_files():
            self.path, lock = _new_folder()
        self._remove = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Remove the folder with all that is in it, and unlock it; happens at the latest as Python ends."""
        self._remove()


def _new_folder() -> tuple[Path, int]:
    """A new folder and the descriptor that its lock belongs to."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            # Where file systems have no locks, nobody can take it, so that nobody removes the folder.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            os.close(descriptor)  # somebody removed it before it was locked


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _remove_leftovers() -> None:
    """Remove the folders whose lock can be taken: their owners are gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, somebody else's, or removed just now
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
