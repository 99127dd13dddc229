"""A program's code and weights in this process, and a context for each call that is under way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from sparsegen.runtime.calls import (
    BoundCall,
    BoundConversion,
    BoundKernel,
    BoundOperator,
    as_tvm,
    clearer,
)
from sparsegen.runtime.library import function_of, load
from sparsegen.runtime.memory import aligned, allocate
from sparsegen.runtime.operators import bind_operator
from sparsegen.runtime.program import (
    Clearing,
    KernelCall,
    NewTensor,
    PlacedArray,
    Program,
    Region,
    Slot,
    TorchCall,
    Weight,
    array_at,
    weights_in,
)
from sparsegen.runtime.stages import BoundStages, NativeCall, bind_stages, stage_rows
from sparsegen.runtime.structures import clearing_struct

BoundCalls = tuple[BoundCall | BoundStages, ...]
"""The calls of a program, bound to an arena of their own; kernels in a row are one."""


class Contexts:
    """The contexts of a program: they share its functions and weights, and each has an arena.

    One is made at once, and another whenever all are taken: as many as there are calls at a time.

    tensors: the arrays that torch reads, and known results, by number, as torch's tensors.
    by_torch: the slots of what torch computes.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._block = aligned(program.weights)
        kernels = [call for call in program.calls if isinstance(call, KernelCall)]
        self._rows = stage_rows(program)
        symbols = {call.symbol for call in kernels}
        self._library = load(program.library, symbols) if program.library else None
        self._functions = {symbol: function_of(self._library, symbol) for symbol in symbols}
        self._weights = {
            weight.index: as_tvm(array_at(self._block, program.arrays[weight.index]))
            for call in kernels
            for weight in weights_in(call.arguments)
        }
        torch_calls = [call for call in program.calls if isinstance(call, TorchCall)]
        self.by_torch = {call.slot for call in torch_calls}
        self.tensors = {
            weight.index: self._tensor(program.arrays[weight.index])
            for weight in weights_in(
                [*program.interface.known.values(), *((c.arguments, c.keywords) for c in torch_calls)]
            )
        }
        self._free = [self._new()]  # both its ends are safe to use from several threads

    def take(self) -> BoundCalls:
        """A context that nobody else uses until it is given back: the last one used, if that is free."""
        try:
            return self._free.pop()
        except IndexError:
            return self._new()

    def give_back(self, context: BoundCalls) -> None:
        """Let others have a context that was taken."""
        self._free.append(context)

    def _tensor(self, placed: PlacedArray) -> torch.Tensor:
        flat = torch.from_numpy(self._block[placed.offset : placed.end])
        return flat.view(getattr(torch, placed.dtype)).view(placed.shape)

    def _new(self) -> BoundCalls:
        arena = _Arena(self._program.arena_bytes)
        calls = [self._bound(call, arena) for call in self._program.calls]
        return tuple(self._in_stages(calls, arena))

    def _bound(self, call: KernelCall | TorchCall, arena: _Arena) -> BoundCall:
        if isinstance(call, TorchCall):
            run = bind_operator(call, self.tensors)
            return BoundOperator(call.layer, call.operator, run, call.slot, call.frees)
        function, output = self._functions[call.symbol], call.arguments[-1]
        clear = None
        if call.clears:
            assert isinstance(output, Region)
            clear = clearer(self._halo(output), arena.array(output))
        arguments = tuple(self._argument(each, arena) for each in call.arguments)
        read = {at: each for at, each in enumerate(call.arguments) if isinstance(each, Slot)}
        if not read and isinstance(output, Region):
            return BoundKernel(call.layer, function, arguments, clear)
        reads = tuple((at, each.index) for at, each in read.items())
        aligned = tuple((at, each.shape or ()) for at, each in read.items() if each.aligned)
        forms = tuple(
            (at, math.prod(each.shape or ()), getattr(torch, each.dtype))
            for at, each in read.items()
            if each.index in self.by_torch
        )
        made = {}
        if isinstance(output, NewTensor):
            made = {"makes": output.slot, "shape": output.shape, "dtype": getattr(torch, output.dtype)}
        return BoundConversion(
            call.layer, function, arguments, clear, reads, aligned, forms, frees=call.frees, **made
        )

    def _halo(self, region: Region) -> Clearing:
        assert region.halo is not None
        return self._program.halos[region.halo]

    def _argument(self, each: Slot | Region | Weight | NewTensor, arena: _Arena) -> Any:
        """What TVM reads; None for what only a call has."""
        if isinstance(each, Weight):
            return self._weights[each.index]
        return arena.tensor(each) if isinstance(each, Region) else None

    def _in_stages(self, calls: Sequence[BoundCall], arena: _Arena) -> Iterator[BoundCall | BoundStages]:
        """The calls in order, kernels in a row as one."""
        at = 0
        for row in self._rows:
            yield from calls[at : row[0].first]
            at = row[-1].end
            staged = range(row[0].first, at)
            natives = [self._native(self._program.calls[each], calls[each], arena) for each in staged]
            yield bind_stages(natives, row, self._program.threads, self._library)
        yield from calls[at:]

    def _native(self, call: KernelCall | TorchCall, bound: BoundCall, arena: _Arena) -> NativeCall:
        """A call of a stage, as native code makes it."""
        assert isinstance(call, KernelCall)
        assert isinstance(bound, BoundKernel)
        assert self._library is not None
        arrays = tuple(
            array_at(self._block, self._program.arrays[each.index])
            if isinstance(each, Weight)
            else arena.array(each)
            for each in call.arguments
            if isinstance(each, Weight | Region)
        )
        clearing = None
        if call.clears:
            assert isinstance(call.arguments[-1], Region)
            clearing = clearing_struct(self._halo(call.arguments[-1]), arrays[-1])
        return NativeCall(bound, self._library.addresses[call.symbol], arrays, clearing)


class _Arena:
    """The memory of one context, and the buffers in it that were asked for."""

    def __init__(self, size: int) -> None:
        self._bytes = allocate(size)
        self._buffers: dict[Region, tuple[NDArray[Any], Any]] = {}

    def array(self, region: Region) -> NDArray[Any]:
        """A region as an array."""
        return self._buffer(region)[0]

    def tensor(self, region: Region) -> Any:
        """A region as TVM's tensor."""
        return self._buffer(region)[1]

    def _buffer(self, region: Region) -> tuple[NDArray[Any], Any]:
        if region not in self._buffers:
            held = self._bytes[region.offset : region.end].view(region.dtype).reshape(region.shape)
            self._buffers[region] = held, as_tvm(held)
        return self._buffers[region]
