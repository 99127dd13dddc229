"""Kernels, torch's operators, memory plan and weights put together: the program of a compiled model."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from sparsegen.graph import LayerGraph, PlainCore
from sparsegen.lowering.build import Built
from sparsegen.lowering.extern import torch_call
from sparsegen.lowering.kernel import Kernel, WeightArray
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.memory import Lifetime, MemoryPlan
from sparsegen.runtime.memory import place_arrays
from sparsegen.runtime.operators import as_data, bytes_of
from sparsegen.runtime.program import (
    CallStage,
    Clearing,
    Interface,
    KernelCall,
    LayerReport,
    NewTensor,
    Parameter,
    PlacedArray,
    PlainForm,
    Program,
    Region,
    Slot,
    TorchCall,
    Weight,
    ended_before,
)
from sparsegen.runtime.transformed import TransformedFilters
from sparsegen.stopwatch import part
from sparsegen.target import Target


@dataclass(frozen=True, eq=False)
class Placed:
    """Where the laid-out values of a graph lie in the arena.

    `padded` are those whose halo some layer reads. `given` are the layouts of inputs that are laid out: the
    caller's buffers.
    """

    layouts: Mapping[str, Layout]
    memory: MemoryPlan
    padded: Collection[str]
    given: Mapping[str, Layout] = field(default_factory=dict)

    def layout(self, name: str) -> Layout:
        """Layout of a value, or of an input that is laid out."""
        return self.layouts[name] if name in self.layouts else self.given[name]

    def region(self, name: str, halos: dict[Clearing, int] | None = None) -> Region:
        """A value's buffer, [groups, size]: with its halo, which gets a number, where `halos` are given."""
        layout, number = self.layouts[name], None
        if halos is not None and (halo := self.halo(name)) is not None:
            number = halos.setdefault(halo, len(halos))
        return Region(self.memory.offsets[name], (layout.groups, layout.size), layout.dtype, number)

    def halo(self, name: str) -> Clearing | None:
        """What lies around a value's elements, where its kernel writes nothing; None for nothing."""
        layout = self.layouts[name]
        if not layout.is_image or not layout.has_halo:
            return None
        return Clearing(layout.groups, layout.size, layout.base, *layout.zero_spans())

    def is_cleared(self, name: str) -> bool:
        """Whether a halo that some layer reads is zeroed before each call.

        That is so where a value of another layout or place writes over it between two calls.
        """
        if name not in self.padded or self.halo(name) is None:
            return False
        region = self.region(name)
        return any(
            region.meets(self.region(other))
            for other in self.layouts
            if (self.memory.offsets[other], self.layouts[other]) != (region.offset, self.layouts[name])
        )


def value_lifetimes(
    graph: LayerGraph, layouts: Mapping[str, Layout], stages: Sequence[CallStage] = ()
) -> dict[str, Lifetime]:
    """Of every value with a layout: from the layer that writes it, counted from 0, to its last reader.

    `stages` tell which layers run at once.
    """
    last = last_reads(graph)
    if not stages:
        return {
            layer.name: Lifetime(layouts[layer.name].nbytes, step, last[layer.name])
            for step, layer in enumerate(graph.layers)
            if layer.name in layouts
        }
    uses = {layer.name: 1 << step for step, layer in enumerate(graph.layers)}
    for step, layer in enumerate(graph.layers):
        for name in layer.reads():
            if name in uses:
                uses[name] |= 1 << step
    before = {step: (1 << step) - 1 for step in range(len(graph.layers))}
    for stage in stages:
        passed = (1 << stage.first) - 1
        before.update((call, passed | ended) for call, ended in ended_before(stage).items())
    return {
        name: Lifetime(layouts[name].nbytes, step, last[name], uses[name], before[step])
        for step, name in enumerate(uses)
        if name in layouts
    }


def last_reads(graph: LayerGraph) -> dict[str, int]:
    """The last layer, counted from 0, that reads each layer's value: itself where none does."""
    last = {layer.name: step for step, layer in enumerate(graph.layers)}
    for step, layer in enumerate(graph.layers):
        last.update((name, step) for name in layer.reads() if name in last)
    return last


@part("placing weights")
def assemble(
    graph: LayerGraph,
    built: Built,
    placed: Placed,
    target: Target,
    threads: int,
    layers: Iterable[LayerReport],
    stages: Sequence[CallStage] = (),
) -> Program:
    """The program of a graph with its conversions placed: a call of a kernel or of torch's operator a layer.

    `layers` are its reports; `stages` tell which calls run at once. Raises SparsegenError where the system
    has no memory for the weights.
    """
    arrays, shapes, halos = _Arrays(), graph.shapes(), dict[Clearing, int]()
    plain = [layer.name for layer in graph.layers if layer.name not in placed.layouts]
    slots = {name: slot for slot, name in enumerate([*graph.inputs, *plain])}
    frees = _frees(graph, slots)
    calls: list[KernelCall | TorchCall] = []

    def argument(each: str | WeightArray) -> Weight | Slot | Region:
        if not isinstance(each, str):
            return arrays.add(each)
        if each not in slots:
            return placed.region(each, halos if each in placed.padded else None)
        layout = placed.given.get(each)
        if layout is None:
            return Slot(slots[each], shapes[each])
        return Slot(slots[each], (layout.groups, layout.size), layout.dtype, aligned=True)

    for layer in graph.layers:
        name = layer.name
        if isinstance(layer.core, PlainCore):
            calls.append(torch_call(layer, slots, frees[name], arrays.tensor))
            continue
        arguments: list[Any] = [argument(each) for each in built.kernels[name].arguments]
        symbol = built.symbols[name]
        if name in slots:
            (source,) = layer.inputs
            made = NewTensor(slots[name], layer.shape, placed.layout(source).dtype)
            calls.append(KernelCall(name, symbol, (*arguments, made), frees=frees[name]))
            continue
        arguments.append(placed.region(name, halos))
        calls.append(KernelCall(name, symbol, tuple(arguments), placed.is_cleared(name), frees[name]))
    interface = _interface(graph, arrays, placed.given)
    weights, places = arrays.placed()
    return Program(
        target=target.name,
        threads=threads,
        interface=interface,
        calls=tuple(calls),
        slots=len(slots),
        outputs=tuple(slots[name] for name in graph.outputs),
        arena_bytes=placed.memory.peak_bytes,
        live_bytes=placed.memory.live_bytes,
        arrays=places,
        weights=weights,
        library=built.library,
        signatures=_signatures(built),
        made=arrays.made,
        halos=tuple(halos),
        without=target.without,
        layers=tuple(layers),
        stages=tuple(stages),
    )


def _signatures(built: Built) -> dict[str, tuple[Parameter, ...]]:
    """What each function takes: all kernels of one symbol take the same."""
    one = {symbol: built.kernels[name] for name, symbol in built.symbols.items()}
    return {symbol: _signature(kernel) for symbol, kernel in one.items()}


def _signature(kernel: Kernel) -> tuple[Parameter, ...]:
    """What a kernel's function takes; its last parameter is what the kernel's store writes into."""
    *takes, output = kernel.module["main"].params
    return (*map(_parameter, takes), Parameter(kernel.store.shape, str(output.dtype)))


def _parameter(buffer: Any) -> Parameter:
    extents = (int(extent) if isinstance(extent, tirx.IntImm) else None for extent in buffer.shape)
    return Parameter(tuple(extents), str(buffer.dtype))


class _Arrays:
    """The arrays of a program as they are found; `forms` are what they hold where numpy cannot.

    `made` tells what those are made of that are not weights themselves.

    Equal ones are one: the steps of an unrolled loop have their weights in common, and find them in caches.
    """

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self.forms: dict[int, tuple[tuple[int, ...], str]] = {}
        self.numbers: dict[int, int] = {}
        self.made: dict[int, TransformedFilters] = {}
        self.kept: list[Any] = []  # so that no two have one id
        self.alike: dict[tuple[Any, ...], list[int]] = {}

    def add(self, array: WeightArray) -> Weight:
        if id(array) not in self.numbers:
            self.kept.append(array)
            self.numbers[id(array)] = number = self._number(np.asarray(array))
            if isinstance(array, TransformedFilters):
                self.made[number] = array
        return Weight(self.numbers[id(array)])

    def _number(self, array: NDArray[Any]) -> int:
        """That of the array that holds the same bytes, or a new one."""
        content = array.reshape(-1).view(np.uint8)
        same = self.alike.setdefault((array.shape, array.dtype.str, zlib.crc32(content.data)), [])
        for number in same:
            if np.array_equal(self.arrays[number].reshape(-1).view(np.uint8), content):
                return number
        same.append(len(self.arrays))
        self.arrays.append(array)
        return same[-1]

    def tensor(self, tensor: Any) -> Weight:
        """A tensor of torch's, of any type, as its bytes."""
        if id(tensor) not in self.numbers:
            self.kept.append(tensor)
            self.numbers[id(tensor)] = number = len(self.arrays)
            self.arrays.append(bytes_of(tensor))
            self.forms[number] = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        return Weight(self.numbers[id(tensor)])

    def placed(self) -> tuple[NDArray[Any], tuple[PlacedArray, ...]]:
        """The block, and where each lies."""
        block, places = place_arrays(self.arrays)
        for number, (shape, dtype) in self.forms.items():
            places[number] = replace(places[number], shape=shape, dtype=dtype)
        return block, tuple(places)


def _interface(graph: LayerGraph, arrays: _Arrays, given: Mapping[str, Layout]) -> Interface:
    """How the model is called; inputs that can be given by name alone are called by that in messages."""
    names = [f"input {i}" for i in range(len(graph.inputs))]
    if graph.call is not None and not graph.call.is_flat:
        names = [name for place, name in enumerate(graph.call.leaves) if place not in graph.call.fixed]
    shapes = graph.shapes()
    buffers = {name: (layout.groups, layout.size) for name, layout in given.items()}
    forms = [(buffers.get(name, shape), graph.input_dtype(name)) for name, shape in graph.inputs.items()]
    return Interface(
        inputs=tuple(PlainForm(name, *form) for name, form in zip(names, forms, strict=True)),
        output_shapes=tuple(shapes[name] for name in graph.outputs),
        call=graph.call,
        structure=graph.output_spec,
        known={place: as_data(value, arrays.tensor) for place, value in graph.known_outputs.items()},
    )


def _frees(graph: LayerGraph, slots: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """By layer, the slots of plain values that no later layer reads; inputs stay the caller's."""
    freed: dict[str, tuple[int, ...]] = {layer.name: () for layer in graph.layers}
    for name, last in last_reads(graph).items():
        if name in slots and name not in graph.outputs:
            reader = graph.layers[last].name
            freed[reader] = (*freed[reader], slots[name])
    return freed
