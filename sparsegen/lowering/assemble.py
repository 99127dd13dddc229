"""Kernels, memory plan and weights put together as the steps that a compiled model runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
import tvm_ffi

from sparsegen.graph import LayerGraph
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.memory import Lifetime, MemoryPlan
from sparsegen.runtime.memory import allocate_arena, place_weights
from sparsegen.runtime.model import Halo, Step
from sparsegen.stopwatch import part

Function = Callable[..., Any]


def value_lifetimes(graph: LayerGraph, layouts: Mapping[str, Layout]) -> dict[str, Lifetime]:
    """Of every value: inputs are written in steps before the layers, outputs read in a step after."""
    order = [*graph.inputs, *(layer.name for layer in graph.layers)]
    last = {name: step for step, name in enumerate(order)}
    for step, layer in enumerate(graph.layers, len(graph.inputs)):
        last.update((name, step) for name in layer.reads() if name in last)
    last.update((name, len(order)) for name in graph.outputs)
    return {
        name: Lifetime(layouts[name].groups * layouts[name].size * 4, step, last[name])
        for step, name in enumerate(order)
    }


@part("placing weights")
def assemble(
    graph: LayerGraph,
    kernels: Mapping[str, Kernel],
    leaving: Sequence[Kernel],
    functions: Sequence[Function],
    layouts: Mapping[str, Layout],
    memory: MemoryPlan,
    padded: Collection[str],
) -> list[Step]:
    """The steps: `kernels` by the value that they write, then `leaving` for the graph's outputs.

    `functions` are the compiled functions of both, in that order. `padded` are the values whose halo some
    layer reads.
    """
    arena = allocate_arena(memory.peak_bytes)
    weights = _weights([*kernels.values(), *leaving])
    views = {name: _view(arena, layouts[name], memory.offsets[name]) for name in kernels}
    buffers = {name: tvm_ffi.from_dlpack(view) for name, view in views.items()}
    inputs = {name: i for i, name in enumerate(graph.inputs)}
    steps = []
    for (name, kernel), function in zip(kernels.items(), functions, strict=False):
        # An input's own kernel reads the caller's tensor; all others read the arena.
        read = _arguments(kernel, {**buffers, **({name: inputs[name]} if name in inputs else {})}, weights)
        cleared = name in padded and _is_overwritten(name, layouts, memory)
        clear = _clearer(layouts[name], views[name]) if cleared else None
        steps.append(Step(name, function, (*read, buffers[name]), clear))
    for i, (kernel, function) in enumerate(zip(leaving, functions[len(kernels) :], strict=True)):
        steps.append(Step(f"output {i}", function, (*_arguments(kernel, buffers, weights), -1 - i)))
    return steps


def _view(arena: torch.Tensor, layout: Layout, offset: int) -> torch.Tensor:
    """A value's buffer in the arena, [groups, size]."""
    end = offset + 4 * layout.groups * layout.size
    return arena[offset:end].view(torch.float32).view(layout.groups, layout.size)


def _arguments(
    kernel: Kernel, values: Mapping[str, tvm_ffi.Tensor | int], weights: Mapping[int, tvm_ffi.Tensor]
) -> list[tvm_ffi.Tensor | int]:
    return [values[a] if isinstance(a, str) else weights[id(a)] for a in kernel.arguments]


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
