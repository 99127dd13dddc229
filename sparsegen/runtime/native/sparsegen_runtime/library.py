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
    pointer, size, bytes_, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t, ctypes.c_int
    native.sparsegen_fma_peak.restype = ctypes.c_double
    native.sparsegen_run_stages.restype = size
    native.sparsegen_run_stages.argtypes = (pointer, size, pointer, pointer, size, size, pointer)
    native.sparsegen_use_openmp.argtypes = (pointer, pointer, pointer)
    native.sparsegen_decode_zeros.argtypes = (pointer, size, pointer, bytes_, pointer, bytes_)
    for decode in (native.sparsegen_decode_narrow, native.sparsegen_decode_deltas):
        decode.argtypes = (pointer, size, pointer, bytes_, number, ctypes.c_int32)
    filters = (pointer, pointer, size, number, number, pointer)
    native.sparsegen_decode_transformed.argtypes = (*filters, size, size)
    return native
