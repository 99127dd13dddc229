"""Libraries of generated functions, from bytes.

Their files are in memory: a temporary folder may be full, read-only or barred to execution. It is used where
a security policy keeps files in memory from being loaded.
"""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm_ffi

from sparsegen.errors import ProgramError, ToolchainError
from sparsegen.files import temporary_room
from sparsegen.runtime import bindings
from sparsegen.runtime.memory_files import with_file, write_to
from sparsegen.stopwatch import part

_PREFIX = "__tvm_ffi_"
"""What TVM puts before the names of functions."""


@dataclass(frozen=True, eq=False)
class Library:
    """A library of kernels: TVM's module of it, and the address of each function that was asked for.

    It is unmapped with the last of the module and its functions.
    """

    module: Any
    addresses: Mapping[str, int]


@part("loading")
def load(library: bytes, symbols: Collection[str] = ()) -> Library:
    """A library of kernels, its parallel loops on torch's threads, with the addresses of some functions.

    Raises SparsegenError where it cannot be loaded, and ProgramError where it has no function of a symbol.
    """

    def loaded(path: str, descriptor: int | None) -> Library:
        if descriptor is None:
            Path(path).write_bytes(library)
        else:
            write_to(descriptor, library)
        try:
            kernels = ctypes.CDLL(path)
        except OSError as error:
            raise ToolchainError(
                f"the generated kernels cannot be loaded: {error}; {temporary_room()}"
            ) from error
        try:
            # TVM's own `load_module` would keep it until the process ends.
            module = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")(path, "so")
            bindings.use_torch_threads(kernels)
            addresses = {symbol: _address(kernels, symbol) for symbol in symbols}
        finally:
            _ctypes.dlclose(kernels._handle)  # the module has it open, too
        return Library(module, addresses)

    return with_file(loaded)


def function_of(library: Library | None, symbol: str) -> Any:
    """A function of a library; raises ProgramError where the library has none of that name, or is none."""
    if library is None:
        raise _missing(symbol)
    try:
        return library.module.get_function(symbol)
    except (AttributeError, RuntimeError) as error:
        raise _missing(symbol) from error


def _address(kernels: ctypes.CDLL, symbol: str) -> int:
    try:
        function = getattr(kernels, f"{_PREFIX}{symbol}")
    except AttributeError as error:
        raise _missing(symbol) from error
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _missing(symbol: str) -> ProgramError:
    return ProgramError(f"the program's library has no function {symbol!r}: compile the model again")
