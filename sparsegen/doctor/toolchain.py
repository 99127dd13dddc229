"""gcc: whether it compiles and links one function, and whether the system loads that."""

from __future__ import annotations

import _ctypes
import ctypes
import shutil

from sparsegen.doctor.finding import Finding
from sparsegen.errors import ToolchainError, first_line
from sparsegen.lowering.library import run_gcc
from sparsegen.runtime.memory_files import memory_file, path_of, with_file, write_to

_SOURCE = b"const char *sparsegen_doctor(void) { return __VERSION__; }\n"
_INSTALL = "sudo apt-get install gcc libc6-dev"


def gcc() -> Finding:
    """Compile, link, load and call a function, the way that kernels' libraries take."""
    try:
        version = with_file(_version)
    except (ToolchainError, OSError) as error:
        there = shutil.which("gcc") is not None
        command = "gcc -shared -fPIC -x c /dev/null -o /dev/shm/a.so" if there else _INSTALL
        return Finding("gcc", "broken", first_line(error), "kernels cannot be linked", command)
    return Finding(
        "gcc",
        "ok",
        f"gcc {version} ({shutil.which('gcc')}) compiles and links a function, which runs",
        "kernels can be linked and loaded",
    )


def _version(path: str, descriptor: int | None) -> str:
    """The version of gcc, as a function says that it has built."""
    with memory_file("sparsegen-doctor") as source:
        write_to(source, _SOURCE)
        inherited = [source] if descriptor is None else [source, descriptor]
        run_gcc(
            "a function", ["-shared", "-fPIC", "-o", path, "-x", "c", path_of(source)], inherited=inherited
        )
    library = ctypes.CDLL(path)
    try:
        library.sparsegen_doctor.restype = ctypes.c_char_p
        return bytes(library.sparsegen_doctor()).decode()
    finally:
        _ctypes.dlclose(library._handle)
