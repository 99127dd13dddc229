"""Passes that change the order of layers that commute.

Average pooling goes before a pointwise convolution, which then multiplies fewer pixels. Pointwise steps go
from a pixel shuffle to the convolution before it, whose weights may take them in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import TypeGuard

import numpy as np

from sparsegen.frontend.simplify import count_readers
from sparsegen.graph import Array, Conv2d, Core, Layer, LayerGraph, PixelShuffle, Pool2d, Shape, Step


def pool_before_pointwise(graph: LayerGraph) -> LayerGraph:
    """Average pooling of a pointwise convolution's result becomes a convolution of pooled inputs.

    Both are linear, and the mean of a bias is the bias. The convolution stays where something else reads
    its result, and where the pooling pads, has windows past the image, or does not leave fewer pixels.
    """
    readers = count_readers(graph)
    layers: dict[str, Layer] = {}
    renamed: dict[str, str] = {}
    for layer in graph.layers:
        layer = layer.renamed(renamed)
        before = layers.get(layer.inputs[0])
        if (
            before is not None
            and _is_pointwise(before.core)
            and not before.epilogue
            and readers[before.name] == 1
            and _shrinks(layer, before.shape)
        ):
            channels = before.core.weight.shape[1] * before.core.groups
            pooled = (layer.shape[0], channels, *layer.shape[2:])
            layers[layer.name] = replace(layer, inputs=before.inputs, shape=pooled, epilogue=())
            renamed[layer.name] = before.name
            readers[before.name] = readers[layer.name]
            del layers[before.name]
            layer = replace(before, inputs=(layer.name,), shape=layer.shape, epilogue=layer.epilogue)
        layers[layer.name] = layer
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return replace(graph, layers=list(layers.values()), outputs=outputs)


def steps_before_shuffle(graph: LayerGraph) -> LayerGraph:
    """The first steps of a pixel shuffle become the last of the convolution that alone it reads.

    These are the steps of numbers, and of constants by channel: a channel's is that of all its phases.
    """
    readers, constants = count_readers(graph), dict(graph.constants)
    layers: dict[str, Layer] = {}
    for layer in graph.layers:
        conv = layers.get(layer.inputs[0])
        if (
            isinstance(layer.core, PixelShuffle)
            and conv is not None
            and isinstance(conv.core, Conv2d)
            and readers[conv.name] == 1
        ):
            steps = tuple(takewhile(lambda step: _is_by_channel(step, graph.constants), layer.epilogue))
            moved = [_repeated(step, conv, math.prod(layer.core.factors), constants) for step in steps]
            layers[conv.name] = replace(conv, epilogue=(*conv.epilogue, *moved))
            layer = replace(layer, epilogue=layer.epilogue[len(steps) :])
        layers[layer.name] = layer
    return replace(graph, layers=list(layers.values()), constants=constants)


def _is_by_channel(step: Step, constants: Mapping[str, Array]) -> bool:
    """Whether a step does the same to all pixels of a channel."""
    if not isinstance(step.operand, str):
        return True
    array = constants.get(step.operand)
    return array is not None and (array.size == 1 or (array.ndim >= 3 and array.shape[-3] == array.size))


def _repeated(step: Step, conv: Layer, times: int, constants: dict[str, Array]) -> Step:
    """The step with each channel's number for `times` channels that follow each other."""
    if not isinstance(step.operand, str) or constants[step.operand].size == 1:
        return step
    name = f"{step.operand}#phases of {conv.name}"
    constants[name] = np.repeat(constants[step.operand].reshape(-1), times).reshape(-1, 1, 1)
    return replace(step, operand=name)


def _is_pointwise(core: Core) -> TypeGuard[Conv2d]:
    return (
        isinstance(core, Conv2d)
        and core.weight.shape[2:] == (1, 1)
        and core.stride == (1, 1)
        and not any(core.padding)
    )


def _shrinks(layer: Layer, source: Shape) -> bool:
    """Whether a layer averages windows that lie in its source, of fewer pixels than that has."""
    core = layer.core
    if not isinstance(core, Pool2d) or core.kind != "avg" or any(core.padding) or core.divisor is not None:
        return False
    axes = zip(source[2:], layer.shape[2:], core.kernel, core.stride, core.dilation, strict=True)
    inside = all((n - 1) * stride + (k - 1) * dilation < extent for extent, n, k, stride, dilation in axes)
    return inside and math.prod(layer.shape[2:]) < math.prod(source[2:])
