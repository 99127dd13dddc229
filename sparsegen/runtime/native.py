"""Bindings of `native.c`: torch's thread pool for generated code, halo zeroing, the FMA peak."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

from sparsegen.errors import ToolchainError
from sparsegen.runtime.forks import with_team


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled `native.c`, bound to torch's own OpenMP library.

    Raises SparsegenError where the package was installed without its compiled part, or that cannot be loaded.
    """
    built = sorted(Path(__file__).parent.glob("_native*.so"))
    if not built:
        raise ToolchainError("sparsegen.runtime was installed without its compiled part; reinstall with gcc")
    try:
        for openmp in Path(torch.__file__).parent.glob("lib/libgomp*"):
            ctypes.CDLL(str(openmp), mode=ctypes.RTLD_GLOBAL)
        native = ctypes.CDLL(str(built[0]))
    except OSError as error:
        raise ToolchainError(f"the compiled part of sparsegen.runtime cannot be loaded: {error}") from error
    native.sparsegen_fma_peak.restype = ctypes.c_double
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    native.sparsegen_run_stages.restype = ctypes.c_int64
    native.sparsegen_run_stages.argtypes = (pointer, size, pointer, pointer, size, size, pointer)
    return native


def set_threads(threads: int) -> None:
    """Threads that generated code uses when it is called from this thread."""
    library().sparsegen_set_threads(threads)


def use_torch_threads(kernels: ctypes.CDLL) -> None:
    """Point a generated library's parallel loops at torch's OpenMP team."""
    try:
        hook = ctypes.c_void_p.in_dll(kernels, "__TVMBackendParallelLaunch")
    except ValueError:  # no parallel loop was generated
        return
    hook.value = ctypes.cast(library().sparsegen_parallel_launch, ctypes.c_void_p).value


def fma_peak_gflops(lanes: int, threads: int) -> float:
    """Measured peak of float32 multiply-adds from registers, in GF/s of all `threads` together."""
    return float(with_team(lambda: library().sparsegen_fma_peak(lanes, threads)))
