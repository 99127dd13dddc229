"""Memory of a model: activations and weights on large pages, and results."""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
from collections.abc import Sequence
from typing import Any

import torch
import tvm_ffi
from numpy.typing import NDArray

from sparsegen.errors import OutOfMemoryError

_HUGE_PAGE, _LINE = 2 << 20, 64  # bytes
_CPU = torch.device("cpu")


def allocate_arena(size: int) -> torch.Tensor:
    """`size` bytes of zeros, on large pages where the system grants them.

    Raises SparsegenError where the system has no such memory.
    """
    rounded = max(1, -(-size // _HUGE_PAGE)) * _HUGE_PAGE
    try:
        # Private, for shared memory (mmap's default) gets no large pages.
        memory = mmap.mmap(-1, rounded + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise _no_memory("weights or activations", size) from error
    # A kernel may be built without large pages.
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    arena = torch.frombuffer(memory, dtype=torch.uint8)
    start = -arena.data_ptr() % _HUGE_PAGE
    return arena[start : start + rounded]


def place_weights(arrays: Sequence[NDArray[Any]]) -> list[tvm_ffi.Tensor]:
    """Copies of contiguous arrays: side by side on large pages, each from a cache line on.

    Raises SparsegenError where the system has no such memory.
    """
    begins = [0, *itertools.accumulate(-(-array.nbytes // _LINE) * _LINE for array in arrays)]
    memory = allocate_arena(begins[-1])
    copies = []
    for array, begin in zip(arrays, begins, strict=False):
        source = torch.from_numpy(array)
        copy = memory[begin : begin + array.nbytes].view(source.dtype).view(source.shape)
        copies.append(tvm_ffi.from_dlpack(copy.copy_(source)))
    return copies


def allocate_result(shape: tuple[int, ...]) -> torch.Tensor:
    """An uninitialised float32 tensor on the CPU, whatever torch's defaults are.

    Raises SparsegenError where the system has no such memory.
    """
    try:
        return torch.empty(shape, dtype=torch.float32, device=_CPU)
    except RuntimeError as error:  # torch has no error of its own for it
        raise _no_memory("results", 4 * math.prod(shape)) from error


def _no_memory(use: str, size: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"no memory is left for {size:,} bytes of {use}: free some, raise the process's limit (ulimit -v), "
        "or compile for a smaller batch"
    )
