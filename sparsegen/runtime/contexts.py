"""A program's code and weights in this process, and a context for each call that is under way."""

from __future__ import annotations

import math
from typing import Any

import torch

from sparsegen.errors import ProgramError
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

BoundCalls = tuple[BoundCall, ...]
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
        self._functions = {call.symbol: _function(module, call.symbol) for call in kernels}
        self._weights = {
            weight.index: as_tvm(array_at(self._block, program.arrays[weight.index]))
            for call in kernels
            for weight in weights_in(call.arguments)
        }
        torch_calls = [call for call in program.calls if isinstance(call, TorchCall)]
        self._by_torch = {call.slot for call in torch_calls}
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
        arena = allocate(self._program.arena_bytes)
        buffers: dict[Region, Any] = {}

        def buffer(region: Region) -> Any:
            if region not in buffers:
                held = arena[region.offset : region.end].view(region.dtype).reshape(region.shape)
                buffers[region] = held, as_tvm(held)
            return buffers[region]

        def argument(each: Slot | Region | Weight | NewTensor) -> Any:
            if isinstance(each, Weight):
                return self._weights[each.index]
            return buffer(each)[1] if isinstance(each, Region) else None

        def bound(call: KernelCall | TorchCall) -> BoundCall:
            if isinstance(call, TorchCall):
                run = bind_operator(call, self.tensors)
                return BoundOperator(call.layer, call.operator, run, call.slot, call.frees)
            function, output = self._functions[call.symbol], call.arguments[-1]
            clear = None
            if call.clears:
                assert call.halo is not None
                assert isinstance(output, Region)
                clear = clearer(call.halo, buffer(output)[0])
            arguments = tuple(map(argument, call.arguments))
            read = {at: each for at, each in enumerate(call.arguments) if isinstance(each, Slot)}
            if not read and isinstance(output, Region):
                return BoundKernel(call.layer, function, arguments, clear)
            reads = tuple((at, each.index) for at, each in read.items())
            aligned = tuple((at, each.shape or ()) for at, each in read.items() if each.aligned)
            sizes = tuple(
                (at, math.prod(e.shape or ())) for at, e in read.items() if e.index in self._by_torch
            )
            made = {}
            if isinstance(output, NewTensor):
                made = {"makes": output.slot, "shape": output.shape, "dtype": getattr(torch, output.dtype)}
            return BoundConversion(
                call.layer, function, arguments, clear, reads, aligned, sizes, frees=call.frees, **made
            )

        return tuple(map(bound, self._program.calls))


def _function(module: Any, symbol: str) -> Any:
    """A function of a library; raises ProgramError where the library has none of that name, or is none."""
    try:
        return module.get_function(symbol)
    except (AttributeError, RuntimeError) as error:
        raise ProgramError(
            f"the program's library has no function {symbol!r}: compile the model again"
        ) from error
