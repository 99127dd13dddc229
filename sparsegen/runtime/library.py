"""Libraries of generated functions, from bytes.

Their files are in memory: a temporary folder may be full, read-only or barred to execution. It is used where
a security policy keeps files in memory from being loaded.
"""

from __future__ import annotations

import _ctypes
import ctypes
from pathlib import Path
from typing import Any

import tvm_ffi

from sparsegen.errors import ToolchainError
from sparsegen.files import temporary_room
from sparsegen.runtime import native
from sparsegen.runtime.memory_files import with_file, write_to
from sparsegen.stopwatch import part


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
            native.use_torch_threads(kernels)
        finally:
            _ctypes.dlclose(kernels._handle)  # the module has it open, too
        return module

    return with_file(loaded)
