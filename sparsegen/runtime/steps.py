"""The steps of a call: generated functions, and operators that torch computes between them.

Activations of generated functions lie in the model's arena. Plain torch tensors, which the model's inputs,
its outputs and everything that torch computes are, live in the slots of one call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tvm_ffi

from sparsegen.errors import (
    InputError,
    OutOfMemoryError,
    SparsegenError,
    ToolchainError,
    first_line,
    is_out_of_memory,
)
from sparsegen.runtime import native
from sparsegen.runtime.memory import allocate_result

Slots = list[Any]
"""The plain values of a call: tensors, and tuples of them."""


@dataclass(frozen=True, eq=False)
class Halo:
    """The zero padding of one value's buffer, as `native.zero_halo` takes it."""

    groups: int
    size: int
    head: int
    planes: int
    plane: int
    spans: tuple[tuple[int, int], ...]

    def clearer(self, data: torch.Tensor) -> Callable[[], None]:
        """A call that zeroes the halo in a buffer of groups x size floats."""
        flat = [edge for span in self.spans for edge in span]
        spans = (ctypes.c_int64 * len(flat))(*flat)
        sizes = (self.groups, self.size, self.head, self.planes, self.plane, len(self.spans))
        arguments = (ctypes.c_void_p(data.data_ptr()), *map(ctypes.c_int64, sizes), spans)
        clear = native.library().sparsegen_zero_halo
        return lambda: clear(*arguments)


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a generated function on buffers and weights, TVM's own tensors: they cost no conversion.

    `clear`, where set, zeroes the output's halo before the call.
    """

    layer: str
    function: Callable[..., Any]
    arguments: tuple[tvm_ffi.Tensor, ...]
    clear: Callable[[], None] | None = None

    def run(self, slots: Slots) -> None:
        """Call the function."""
        if self.clear is not None:
            self.clear()
        self.function(*self.arguments)

    def failure(self, error: Exception) -> SparsegenError:
        """What to raise for an error of TVM's or torch's."""
        return ToolchainError(f"the kernel of layer {self.layer!r} failed: {first_line(error)}")


@dataclass(frozen=True, eq=False)
class Enter(Step):
    """Lays the plain value in `slot` out; frees the slots of `last`."""

    slot: int = 0
    last: tuple[int, ...] = ()

    def run(self, slots: Slots) -> None:
        """Call the function on the value, row-major."""
        if self.clear is not None:
            self.clear()
        self.function(slots[self.slot].contiguous().view(-1), *self.arguments)
        for slot in self.last:
            slots[slot] = None


@dataclass(frozen=True, eq=False)
class Leave(Step):
    """Makes a plain tensor, of a shape, of a buffer, and puts it in `slot`."""

    slot: int = 0
    shape: tuple[int, ...] = ()

    def run(self, slots: Slots) -> None:
        """Call the function on memory of the call's own."""
        result = slots[self.slot] = allocate_result(self.shape)
        self.function(*self.arguments, result.view(-1))


@dataclass(frozen=True, eq=False)
class TorchStep:
    """One operator that torch computes: `call` gives what goes to `slot`. Frees the slots of `last`.

    A result may be a view of what the operator reads: freed is the slot, and torch frees the memory.
    """

    layer: str
    operator: str
    call: Callable[[Slots], Any]
    slot: int
    last: tuple[int, ...]

    def run(self, slots: Slots) -> None:
        """Call the operator."""
        slots[self.slot] = self.call(slots)
        for slot in self.last:
            slots[slot] = None

    def failure(self, error: Exception) -> SparsegenError:
        """What to raise for an error of torch's: values that it refuses are the caller's."""
        what = f"torch's operator {self.operator} of layer {self.layer!r}"
        if is_out_of_memory(error):
            return OutOfMemoryError(f"no memory is left for {what} ({first_line(error)}): free some")
        if isinstance(error, IndexError | ValueError):
            return InputError(f"{what} refuses the values that it gets: {first_line(error)}")
        return ToolchainError(f"{what} failed: {first_line(error)}")
