"""A program's code and weights in this process, and a context for each call that is under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sparsegen.runtime.calls import BoundCall, BoundConversion, BoundKernel, BoundOperator, as_tvm, clearer
from sparsegen.runtime.library import load
from sparsegen.runtime.memory import aligned, allocate
from sparsegen.runtime.operators import bind_operator
from sparsegen.runtime.program import (
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

Context = tuple[BoundCall, ...]
"""The calls of a program, bound to an arena of their own."""


class Contexts:
    """The contexts of a program: they share its functions and weights, and each has an arena.

    One is made at once, and another whenever all are taken: as many as there are calls at a time.

    tensors: the arrays that torch reads, and known results, by number, as torch's tensors.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._block = aligned(program.weights)
        module = load(program.library) if program.library else None
        kernels = [call for call in program.calls if isinstance(call, KernelCall)]
        self._functions = {call.symbol: module.get_function(call.symbol) for call in kernels if module}
        self._weights = {
            weight.index: as_tvm(array_at(self._block, program.arrays[weight.index]))
            for call in kernels
            for weight in weights_in(call.arguments)
        }
        torch_calls = [call for call in program.calls if isinstance(call, TorchCall)]
        self.tensors = {
            weight.index: self._tensor(program.arrays[weight.index])
            for weight in weights_in(
                [*program.interface.known.values(), *((c.arguments, c.keywords) for c in torch_calls)]
            )
        }
        self._free = [self._new()]  # both its ends are safe to use from several threads

    @contextmanager
    def take(self) -> Iterator[Context]:
        """A context that nobody else uses meanwhile: the one that was used last, where that is free."""
        try:
            context = self._free.pop()
        except IndexError:
            context = self._new()
        try:
            yield context
        finally:
            self._free.append(context)

    def _tensor(self, placed: PlacedArray) -> torch.Tensor:
        flat = torch.from_numpy(self._block[placed.offset : placed.end])
        return flat.view(getattr(torch, placed.dtype)).view(placed.shape)

    def _new(self) -> Context:
        arena = allocate(self._program.arena_bytes)
        buffers: dict[Region, Any] = {}

        def buffer(region: Region) -> Any:
            if region not in buffers:
                held = arena[region.offset : region.end].view(region.dtype).reshape(region.shape)
                buffers[region] = held, as_tvm(held)
            return buffers[region]

        def bound(call: KernelCall | TorchCall) -> BoundCall:
            if isinstance(call, TorchCall):
                return BoundOperator(call, bind_operator(call, self.tensors))
            function, output = self._functions[call.symbol], call.arguments[-1]
            clear = None
            if call.clears:
                assert call.halo is not None
                assert isinstance(output, Region)
                clear = clearer(call.halo, buffer(output)[0])
            arguments = tuple(
                self._weights[each.index] if isinstance(each, Weight) else buffer(each)[1]
                for each in call.arguments
                if isinstance(each, Weight | Region)
            )
            reads = tuple((at, each) for at, each in enumerate(call.arguments) if isinstance(each, Slot))
            makes = output if isinstance(output, NewTensor) else None
            if not reads and makes is None:
                return BoundKernel(call.layer, function, arguments, clear)
            return BoundConversion(call.layer, function, arguments, clear, reads, makes, call.frees)

        return tuple(map(bound, self._program.calls))
