"""Objects and libraries, as bytes: their files are in memory.

LLVM ends the process where it cannot write an object, and a temporary folder may be full or read-only. It is
used where the linker cannot do with files in memory.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsegen.errors import ToolchainError
from sparsegen.files import temporary_room
from sparsegen.runtime.memory_files import memory_file, path_of, with_file, write_to
from sparsegen.stopwatch import part

_LARGEST_OBJECT = 16 << 20  # bytes: far more than a few kernels'


def emit(module: Any) -> bytes:
    """The object of a runtime module of machine code.

    Raises SparsegenError where the system gives no file in memory, or limits files too much.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < _LARGEST_OBJECT:
        raise ToolchainError(
            f"this process may write files of {limit:,} bytes at most (ulimit -f), and LLVM would end it on "
            f"reaching that: allow {_LARGEST_OBJECT:,}"
        )
    with memory_file("sparsegen-object") as descriptor:
        module.write_to_file(path_of(descriptor), "o")
        return _content(descriptor)


@part("linking")
def link(objects: Sequence[bytes]) -> bytes:
    """The shared library of objects.

    Raises SparsegenError where gcc is not there, or cannot link.
    """
    with memory_file("sparsegen-objects") as archive:
        write_to(archive, _archive(objects))

        def linked(path: str, descriptor: int | None) -> bytes:
            inherited = [archive] if descriptor is None else [archive, descriptor]
            whole = ["-Wl,--whole-archive", path_of(archive), "-Wl,--no-whole-archive"]
            run_gcc("generated kernels", ["-shared", "-fPIC", "-o", path, *whole], inherited=inherited)
            return Path(path).read_bytes()

        return with_file(linked)  # lld and mold, where gcc uses them, write beside the file and rename


def run_gcc(what: str, arguments: Sequence[str], *, inherited: Sequence[int] = ()) -> None:
    """Run gcc, which builds `what` and has the file descriptors `inherited`.

    Raises SparsegenError where it is not there, fails, or is ended by a signal.
    """
    try:
        done = subprocess.run(
            ["gcc", *arguments],
            capture_output=True,
            text=True,
            pass_fds=inherited,
            env={**os.environ, **_scratch()},
            check=False,
        )
    except FileNotFoundError:
        raise ToolchainError(f"building {what} needs gcc, which is not on the PATH: install it") from None
    except OSError as error:
        raise ToolchainError(f"gcc, which builds {what}, cannot be run: {error.strerror}") from error
    if done.returncode:
        by_signal = done.returncode < 0
        reason = f"it was ended by signal {-done.returncode}" if by_signal else done.stderr.strip()
        raise ToolchainError(f"gcc could not build {what}: {reason}; {temporary_room()}")


def _scratch() -> dict[str, str]:
    """The setting of a folder for the empty files that gcc makes while it links; gcc's own choice else."""
    for choose in (tempfile.gettempdir, lambda: "/dev/shm"):
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=(folder := choose())):
            return {"TMPDIR": folder}
    return {}


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _archive(objects: Sequence[bytes]) -> bytes:
    """The objects as members of one file (ar): the linker gets one descriptor, however many there are."""
    members = [b"!<arch>\n"]
    for i, content in enumerate(objects):
        header = f"{f'{i}.o/':<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(content):<10}`\n"
        members += [header.encode(), content, b"\n" * (len(content) % 2)]
    return b"".join(members)
