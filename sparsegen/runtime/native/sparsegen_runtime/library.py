"""The native library of this package."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

PATH = Path(__file__).parent / "libsparsegen_runtime.so"


@functools.cache
def library() -> ctypes.CDLL:
    """The library, loaded once.

    Raises OSError where the package was installed without it, or it cannot be loaded.
    """
    native = ctypes.CDLL(str(PATH))
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    native.sparsegen_fma_peak.restype = ctypes.c_double
    native.sparsegen_run_stages.restype = size
    native.sparsegen_run_stages.argtypes = (pointer, size, pointer, pointer, size, size, pointer)
    native.sparsegen_use_openmp.argtypes = (pointer, pointer, pointer)
    return native
