"""Objects, libraries and what loads them, as bytes: their files are in memory.

LLVM ends the process where it cannot write an object, and a temporary folder may be full, read-only or barred
to execution. It is used where the linker or the loader cannot do with files in memory.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import itertools
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import tvm_ffi

from sparsegen.errors import ToolchainError
from sparsegen.files import temporary_files, temporary_room
from sparsegen.runtime import native
from sparsegen.stopwatch import part

_MFD_NOEXEC_SEAL = 8  # no permission to execute, which loading does not need: some systems demand it
_LARGEST_OBJECT = 16 << 20  # bytes: far more than a few kernels'
_serial = itertools.count(1)

T = TypeVar("T")


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
    with _memory_file("sparsegen-object") as descriptor:
        module.write_to_file(_path(descriptor), "o")
        return _content(descriptor)


@part("linking")
def link(objects: Sequence[bytes]) -> bytes:
    """The shared library of objects.

    Raises SparsegenError where gcc is not there, or cannot link.
    """
    with _memory_file("sparsegen-objects") as archive:
        _write(archive, _archive(objects))

        def linked(path: str, descriptor: int | None) -> bytes:
            inherited = [archive] if descriptor is None else [archive, descriptor]
            whole = ["-Wl,--whole-archive", _path(archive), "-Wl,--no-whole-archive"]
            run_gcc("generated kernels", ["-shared", "-fPIC", "-o", path, *whole], inherited=inherited)
            return Path(path).read_bytes()

        return _with_file(linked)  # lld and mold, where gcc uses them, write beside the file and rename


@part("loading")
def load(library: bytes) -> Any:
    """The module of a library of kernels, its parallel loops on torch's threads.

    The library is unmapped with the last of the module and its functions. Raises SparsegenError where it
    cannot be loaded.
    """

    def loaded(path: str, descriptor: int | None) -> Any:
        if descriptor is None:
            Path(path).write_bytes(library)
        else:
            _write(descriptor, library)
        try:
            kernels = ctypes.CDLL(path)
        except OSError as error:
            raise ToolchainError(
                f"the generated kernels cannot be loaded: {error}; {temporary_room()}"
            ) from error
        try:
            # TVM's own `load_module` would keep it until the process ends.
            module = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")(path, "so")
            native.use_torch_threads(kernels)
        finally:
            _ctypes.dlclose(kernels._handle)  # the module has it open, too
        return module

    return _with_file(loaded)  # a security policy may keep files in memory from being loaded


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


def _with_file(use: Callable[[str, int | None], T]) -> T:
    """What `use` makes of a file: of its path, and of its descriptor where it is in memory, not a folder."""
    try:
        with _memory_file("sparsegen-kernels") as descriptor:
            return use(_path(descriptor), descriptor)
    except ToolchainError:
        with temporary_files(), tempfile.TemporaryDirectory(prefix="sparsegen-") as folder:
            return use(f"{folder}/kernels.so", None)


@contextmanager
def _memory_file(name: str) -> Iterator[int]:
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


def _path(descriptor: int) -> str:
    # Descriptors come again, and the loader takes a path that it has loaded before for the same library.
    # So each is written in a way of its own: a bit of its number is "/." or "/", which say the same.
    noise = f"{next(_serial):b}".replace("0", "/").replace("1", "/.")
    return f"/proc/self/fd{noise}/{descriptor}"


def _write(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)


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
