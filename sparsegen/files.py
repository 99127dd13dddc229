"""Files of results, refused before the long work starts and written whole or not at all; temporary ones."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparsegen.errors import FileError, ToolchainError

_STREAMS = (Path("/dev"), Path("/proc"))
"""Where names stand for streams and open files, which nothing can take the place of."""


def check_writable(option: str, path: Path) -> None:
    """Raise SparsegenError, which names the command's option, for a path that cannot be written."""
    if path.is_dir():
        raise FileError(f"{option} {path} is a folder: give the path of a file")
    if not path.parent.is_dir():
        raise FileError(f"{option} {path}: there is no folder {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise FileError(f"{option} {path} cannot be written: choose another path, or allow writing to it")
    folder = path.resolve().parent
    if is_replaceable(path) and folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"{option} {path}: the folder {folder} cannot be written: choose another")


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file as `replacing` does; text in UTF-8. Raises SparsegenError where that fails."""
    with replacing(path) as new:
        new.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file, of the same name, that takes the place of `path` once it is written.

    Nobody ever sees half of it, not even after a power cut. Where writing fails, what was there before
    stays. A symbolic link stays one: the file that it leads to is replaced. Permissions are those of the old
    file, or those that any new file has. What is no plain file, such as a pipe, is written itself.

    Raises SparsegenError where writing fails.
    """
    try:
        if not is_replaceable(path):
            yield path
            return
        real = path.resolve()
        with tempfile.TemporaryDirectory(prefix=f".{real.name[:64]}-", dir=real.parent) as folder:
            new = Path(folder) / real.name
            yield new
            _keep_permissions(real, new)
            _sync(new)
            new.replace(real)
        with suppress(OSError):  # not every file system can
            _sync(real.parent)
    except OSError as error:  # the disk may have filled since the check
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


def is_replaceable(path: Path) -> bool:
    """Whether another file may take the place of `path`: there is none yet, or a plain one; not a stream."""
    if any(path.absolute().is_relative_to(root) for root in _STREAMS):
        return False
    return path.is_file() or not path.exists()


def _keep_permissions(old: Path, new: Path) -> None:
    """Give a new file the owner and the permissions of the one whose place it takes, where there is one."""
    if not old.exists():
        return
    before = old.stat()
    with suppress(PermissionError):  # only root may give files away
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(stat.S_IMODE(before.st_mode))


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    except OSError as error:
        return f"no folder for temporary files can be written ({error.strerror}): set TMPDIR to one that can"
    try:
        room = f"has {shutil.disk_usage(folder).free / 1e6:,.0f} MB free"
    except OSError as error:
        room = f"cannot be used ({error.strerror})"
    return f"temporary files go to {folder}, which {room}: TMPDIR may name another"
