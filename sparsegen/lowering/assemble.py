"""Kernels, torch's operators, memory plan and weights put together: the steps that a compiled model runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import tvm_ffi

from sparsegen.graph import LayerGraph, PlainCore
from sparsegen.lowering.extern import torch_step
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.memory import Lifetime, MemoryPlan
from sparsegen.runtime.memory import allocate_arena, place_weights
from sparsegen.runtime.steps import Enter, Halo, Leave, Step, TorchStep
from sparsegen.stopwatch import part

Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Program:
    """Steps, the number of slots that their plain values take, inputs first, and the outputs' slots."""

    steps: list[Step | TorchStep]
    slots: int
    outputs: list[int]


def value_lifetimes(graph: LayerGraph, layouts: Mapping[str, Layout]) -> dict[str, Lifetime]:
    """Of every value with a layout: from the layer that writes it, counted from 0, to its last reader."""
    last = last_reads(graph)
    return {
        layer.name: Lifetime(
            layouts[layer.name].groups * layouts[layer.name].size * 4, step, last[layer.name]
        )
        for step, layer in enumerate(graph.layers)
        if layer.name in layouts
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
    kernels: Mapping[str, Kernel],
    functions: Mapping[str, Function],
    layouts: Mapping[str, Layout],
    memory: MemoryPlan,
    padded: Collection[str],
) -> Program:
    """The steps of a graph with its conversions placed: a kernel's function, or torch's operator, a layer.

    `kernels` and `functions` are by layer. `padded` are the values whose halo some layer reads.
    """
    arena = allocate_arena(memory.peak_bytes)
    weights = _weights(list(kernels.values()))
    views = {name: _view(arena, layout, memory.offsets[name]) for name, layout in layouts.items()}
    buffers = {name: tvm_ffi.from_dlpack(view) for name, view in views.items()}
    plain = [layer.name for layer in graph.layers if layer.name not in layouts]
    slots = {name: slot for slot, name in enumerate([*graph.inputs, *plain])}
    freed = _freed(graph, slots)
    steps: list[Step | TorchStep] = []
    for layer in graph.layers:
        name = layer.name
        if isinstance(layer.core, PlainCore):
            steps.append(torch_step(layer, slots, freed[name]))
            continue
        kernel, function = kernels[name], functions[name]
        arguments = tuple(
            buffers[each] if isinstance(each, str) else weights[id(each)]
            for each in kernel.arguments
            if not (isinstance(each, str) and each in slots)
        )
        if name in slots:
            steps.append(Leave(name, function, arguments, slot=slots[name], shape=layer.shape))
            continue
        cleared = name in padded and _is_overwritten(name, layouts, memory)
        clear = _clearer(layouts[name], views[name]) if cleared else None
        arguments = (*arguments, buffers[name])
        if layer.inputs[0] in slots:
            read = slots[layer.inputs[0]]
            steps.append(Enter(name, function, arguments, clear, slot=read, last=freed[name]))
        else:
            steps.append(Step(name, function, arguments, clear))
    return Program(steps, len(slots), [slots[name] for name in graph.outputs])


def _freed(graph: LayerGraph, slots: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """By layer, the slots of plain values that no later layer reads; inputs stay the caller's."""
    freed: dict[str, tuple[int, ...]] = {layer.name: () for layer in graph.layers}
    for name, last in last_reads(graph).items():
        if name in slots and name not in graph.outputs:
            reader = graph.layers[last].name
            freed[reader] = (*freed[reader], slots[name])
    return freed


def _view(arena: torch.Tensor, layout: Layout, offset: int) -> torch.Tensor:
    """A value's buffer in the arena, [groups, size]."""
    end = offset + 4 * layout.groups * layout.size
    return arena[offset:end].view(torch.float32).view(layout.groups, layout.size)


def _weights(kernels: Sequence[Kernel]) -> dict[int, tvm_ffi.Tensor]:
    """The kernels' arrays as their functions read them, by the arrays' ids."""
    arrays = [each for kernel in kernels for each in kernel.arguments if not isinstance(each, str)]
    return dict(zip(map(id, arrays), place_weights(arrays), strict=True))


def _clearer(layout: Layout, buffer: torch.Tensor) -> Callable[[], None] | None:
    if not layout.is_image or not layout.has_halo:
        return None
    return Halo(layout.groups, layout.size, layout.base, *layout.zero_spans()).clearer(buffer)


def _is_overwritten(name: str, layouts: Mapping[str, Layout], memory: MemoryPlan) -> bool:
    """Whether a value of another layout or place writes over this one's halo between two calls."""
    begin = memory.offsets[name]
    end = begin + 4 * layouts[name].groups * layouts[name].size
    for other, at in memory.offsets.items():
        if other == name or (at == begin and layouts[other] == layouts[name]):
            continue
        if at < end and begin < at + 4 * layouts[other].groups * layouts[other].size:
            return True
    return False
