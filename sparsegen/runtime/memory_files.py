"""Files in memory, for what takes a path; a temporary folder where those cannot be used."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sparsegen.errors import ToolchainError
from sparsegen.files import temporary_files

_MFD_NOEXEC_SEAL = 8  # no permission to execute, which loading does not need: some systems demand it
_serial = itertools.count(1)

T = TypeVar("T")


def with_file(use: Callable[[str, int | None], T]) -> T:
    """What `use` makes of a file: of its path, and of its descriptor where it is in memory, not a folder."""
    try:
        with memory_file("sparsegen-kernels") as descriptor:
            return use(path_of(descriptor), descriptor)
    except ToolchainError:
        with temporary_files(), tempfile.TemporaryDirectory(prefix="sparsegen-") as folder:
            return use(f"{folder}/kernels.so", None)


@contextmanager
def memory_file(name: str) -> Iterator[int]:
    """The descriptor of an empty file in memory, closed afterwards; `name` is for those who look at it.

    Raises SparsegenError where the system gives none.
    """
    try:
        try:
            descriptor = os.memfd_create(name, os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
        except OSError:  # Linux before 6.3 does not know it
            descriptor = os.memfd_create(name)
    except OSError as error:
        raise ToolchainError(
            f"the system gives no file in memory (memfd_create) for generated code: {error.strerror}"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """A path that leads this process, and those that inherit the descriptor, to its file."""
    # Descriptors come again, and the loader takes a path that it has loaded before for the same library.
    # So each is written in a way of its own: a bit of its number is "/." or "/", which say the same.
    noise = f"{next(_serial):b}".replace("0", "/").replace("1", "/.")
    return f"/proc/self/fd{noise}/{descriptor}"


def write_to(descriptor: int, content: bytes) -> None:
    """Write all of an empty file."""
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
