"""The native library in this process: on torch's thread pool, for kernels, halos, filters, the FMA peak."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import sparsegen_runtime.decoding
import sparsegen_runtime.library
import torch
from numpy.typing import NDArray

from sparsegen.errors import ToolchainError
from sparsegen.runtime.forks import with_team

_ENTRY_POINTS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


@functools.cache
def library() -> ctypes.CDLL:
    """The native library, its teams those of torch's own OpenMP library.

    Raises SparsegenError where the runtime was installed without it, or it cannot be loaded.
    """
    try:
        native = sparsegen_runtime.library.library()
        openmp = _torch_openmp()
    except OSError as error:
        raise ToolchainError(
            f"the compiled part of sparsegen-runtime cannot be loaded: {error}; reinstall it with gcc"
        ) from error
    entries = (ctypes.cast(getattr(openmp, name), ctypes.c_void_p) for name in _ENTRY_POINTS)
    native.sparsegen_use_openmp(*entries)
    return native


def _torch_openmp() -> ctypes.CDLL:
    """The OpenMP library that torch brings, or the one that the process has."""
    brought = sorted(Path(torch.__file__).parent.glob("lib/libgomp*"))
    return ctypes.CDLL(str(brought[0])) if brought else ctypes.CDLL(None)


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


def transformed_filters(filters: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filters [..., r, r] in Winograd's domain: [n, n, ...], by a matrix [n, r].

    A saved model's reader computes the same bits.
    """
    library()  # has an error of its own where it is missing
    return sparsegen_runtime.decoding.transformed(filters, matrix)
