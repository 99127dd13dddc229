"""Memory of a model: activations and weights on large pages, and results."""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsegen.errors import OutOfMemoryError
from sparsegen.runtime.program import PlacedArray

_HUGE_PAGE = 2 << 20  # bytes
LINE = 64
"""Bytes of a cache line, of which buffers and arrays start at a multiple."""
_CPU = torch.device("cpu")


def allocate(size: int) -> NDArray[np.uint8]:
    """At least `size` bytes of zeros, on large pages where the system grants them.

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
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % _HUGE_PAGE
    return whole[start : start + rounded]


def aligned(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The block itself where it starts at a cache line, as generated code expects, and else a copy that does.

    One that cannot be written to is copied, too: torch has no tensors of such memory. So is one with gaps.

    Raises SparsegenError where the system has no memory for that.
    """
    if block.ctypes.data % LINE == 0 and block.flags.writeable and block.flags.c_contiguous:
        return block
    copy = allocate(block.nbytes)[: block.nbytes]
    copy[:] = block
    return copy


def place_arrays(arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[np.uint8], list[PlacedArray]]:
    """A block of copies of contiguous arrays, each from a cache line on, and where they lie.

    Raises SparsegenError where the system has no such memory.
    """
    begins = [0, *itertools.accumulate(-(-array.nbytes // LINE) * LINE for array in arrays)]
    block = allocate(begins[-1])[: begins[-1]]
    placed = []
    for array, begin in zip(arrays, begins, strict=False):
        block[begin : begin + array.nbytes] = array.reshape(-1).view(np.uint8)
        placed.append(PlacedArray(begin, array.shape, array.dtype.name))
    return block, placed


def allocate_result(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """An uninitialised tensor on the CPU, whatever torch's defaults are.

    Raises SparsegenError where the system has no such memory.
    """
    try:
        return torch.empty(shape, dtype=dtype, device=_CPU)
    except RuntimeError as error:  # torch has no error of its own for it
        raise _no_memory("results", dtype.itemsize * math.prod(shape)) from error


def _no_memory(use: str, size: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"no memory is left for {size:,} bytes of {use}: free some, raise the process's limit (ulimit -v), "
        "or compile for a smaller batch"
    )
