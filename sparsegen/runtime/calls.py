"""The calls of a program in one process: bound to functions and memory, ready to run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tvm_ffi
from numpy.typing import NDArray

from sparsegen.errors import (
    InputError,
    OutOfMemoryError,
    SparsegenError,
    ToolchainError,
    first_line,
    is_out_of_memory,
)
from sparsegen.runtime import bindings
from sparsegen.runtime.memory import LINE, allocate_result
from sparsegen.runtime.program import Clearing
from sparsegen.runtime.structures import clearing_struct

Slots = list[Any]
"""The plain values of a call of a model: tensors, and tuples of them."""


@dataclass(frozen=True, eq=False)
class BoundKernel:
    """A generated function and its arguments, TVM's own tensors: they cost no conversion.

    `clear`, where set, zeroes the output's halo before the call.
    """

    layer: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    clear: Callable[[], None] | None = None

    def run(self, slots: Slots) -> None:
        """Call the function."""
        if self.clear is not None:
            self.clear()
        self.function(*self.arguments)

    def failure(self, error: Exception) -> SparsegenError:
        """What to raise for an error of TVM's or torch's."""
        if is_out_of_memory(error):
            return OutOfMemoryError(
                f"no memory is left for layer {self.layer!r} ({first_line(error)}): free some"
            )
        return ToolchainError(f"the kernel of layer {self.layer!r} failed: {first_line(error)}")


@dataclass(frozen=True, eq=False)
class BoundConversion(BoundKernel):
    """A function that reads plain tensors, or makes one, its last argument: `arguments` have None there.

    `reads` are (place, slot) of what it reads, `aligned` (place, shape) of buffers among it, which have to
    start at a cache line and whose shape functions ask for, and `forms` (place, elements, type) of what torch
    computed, which nothing else vouches for. `makes` is the slot of what it makes, of a `shape` and `dtype`;
    -1 for nothing.
    """

    reads: tuple[tuple[int, int], ...] = ()
    aligned: tuple[tuple[int, tuple[int, ...]], ...] = ()
    forms: tuple[tuple[int, int, torch.dtype], ...] = ()
    makes: int = -1
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    frees: tuple[int, ...] = ()

    def run(self, slots: Slots) -> None:
        """Call the function on the tensors, row-major, and on new memory."""
        if self.clear is not None:
            self.clear()
        arguments = [*self.arguments]
        for place, slot in self.reads:
            arguments[place] = slots[slot].contiguous().view(-1)
        for place, elements, dtype in self.forms:
            given = arguments[place]
            if given.numel() != elements or given.dtype != dtype:
                raise ValueError(
                    f"torch gave {given.numel()} elements of {given.dtype}; {elements} of {dtype} are read"
                )
        for place, buffer in self.aligned:
            given = arguments[place]
            arguments[place] = (given.clone() if given.data_ptr() % LINE else given).view(buffer)
        if self.makes >= 0:
            result = slots[self.makes] = allocate_result(self.shape, self.dtype)
            arguments[-1] = result.view(-1)
        self.function(*arguments)
        for index in self.frees:
            slots[index] = None


@dataclass(frozen=True, eq=False)
class BoundOperator:
    """An operator that torch computes: `function` gives what goes to `slot`."""

    layer: str
    operator: str
    function: Callable[[Slots], Any]
    slot: int
    frees: tuple[int, ...]

    def run(self, slots: Slots) -> None:
        """Call the operator."""
        slots[self.slot] = self.function(slots)
        for index in self.frees:
            slots[index] = None

    def failure(self, error: Exception) -> SparsegenError:
        """What to raise for an error of torch's: values that it refuses are the caller's."""
        what = f"torch's operator {self.operator} of layer {self.layer!r}"
        if is_out_of_memory(error):
            return OutOfMemoryError(f"no memory is left for {what} ({first_line(error)}): free some")
        if isinstance(error, IndexError | ValueError):
            return InputError(f"{what} refuses the values that it gets: {first_line(error)}")
        return ToolchainError(f"{what} failed: {first_line(error)}")


BoundCall = BoundKernel | BoundOperator


def clearer(clearing: Clearing, data: NDArray[Any]) -> Callable[[], None]:
    """A call that zeroes what is to be zero of a buffer."""
    held = clearing_struct(clearing, data)
    clear = bindings.library().sparsegen_zero_halo
    return lambda: clear(ctypes.byref(held))


def as_tvm(array: NDArray[np.generic]) -> tvm_ffi.Tensor:
    """TVM's tensor of an array's memory."""
    return tvm_ffi.from_dlpack(array)
