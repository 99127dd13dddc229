"""How much an operator has to do, whatever computes it: kinds of its layers, multiply-adds, weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sparsegen.graph import (
    FLOAT32,
    ITEM_BYTES,
    Array,
    Conv2d,
    Core,
    Extern,
    Layer,
    LayerGraph,
    Linear,
    MatMul,
    Recurrent,
    SeparableConv2d,
)


@dataclass(frozen=True)
class Work:
    """What a graph's layers do.

    kinds: of the layers' cores, each once, in order: "conv2d", "linear", "maxpool2d", or torch's name of an
    operator, "aten.topk.default"; with the pointwise steps, "relu". multiply_adds: of convolutions, linear
    layers, matrix products and recurrences, zeros included. weight_bytes: of all weights and constants, in
    float32, zeros included. density: share of the weights that are not zero; 1 without weights.
    """

    kinds: tuple[str, ...]
    multiply_adds: int
    weight_bytes: int
    density: float


def work_of(graph: LayerGraph) -> Work:
    """The work of a graph's layers, for one input."""
    shapes = graph.shapes()
    kinds = dict.fromkeys(kind for layer in graph.layers for kind in _kinds(layer))
    weights = [array for layer in graph.layers for array in kernels_of(layer.core)]
    count, kept = sum(each.size for each in weights), sum(int(np.count_nonzero(each)) for each in weights)
    others = [array for layer in graph.layers for array in biases_of(layer.core)]
    numbers = count + sum(each.size for each in (*others, *graph.constants.values()))
    return Work(
        kinds=tuple(kinds),
        multiply_adds=sum(
            _multiply_adds(layer, [shapes[name] for name in layer.inputs]) for layer in graph.layers
        ),
        weight_bytes=numbers * ITEM_BYTES[FLOAT32],
        density=kept / count if count else 1.0,
    )


def _kinds(layer: Layer) -> Iterator[str]:
    core = layer.core
    name = str(core.overload) if isinstance(core, Extern) else type(core).__name__.lower()
    yield f"{core.kind}{name}" if hasattr(core, "kind") and not isinstance(core, Recurrent) else name
    yield from (step.op for step in layer.epilogue)


def _multiply_adds(layer: Layer, sources: list[tuple[int, ...]]) -> int:
    results = math.prod(layer.shape)
    match layer.core:
        case Conv2d(weight):
            return results * int(math.prod(weight.shape[1:]))
        case SeparableConv2d(depthwise, _, pointwise):
            positions = results // len(pointwise.weight)
            return results * int(pointwise.weight.shape[1]) + positions * int(depthwise.weight.size)
        case Linear(weight):
            return results * int(weight.shape[1])
        case MatMul(transpose_a):
            return results * sources[0][-2 if transpose_a else -1]
        case Recurrent(_, weight):
            return sources[0][0] * sources[0][1] * int(weight.size)
    return 0


def kernels_of(core: Core) -> Iterator[Array]:
    """The weights that a layer multiplies by."""
    match core:
        case Conv2d(weight) | Linear(weight) | Recurrent(_, weight):
            yield weight
        case SeparableConv2d(depthwise, _, pointwise):
            yield from (depthwise.weight, pointwise.weight)


def biases_of(core: Core) -> Iterator[Array]:
    """What a layer adds to its products."""
    parts = (core.depthwise, core.pointwise) if isinstance(core, SeparableConv2d) else (core,)
    for part in parts:
        if isinstance(part, Conv2d | Linear | Recurrent) and part.bias is not None:
            yield part.bias
