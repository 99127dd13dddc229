"""A pass that puts average pooling before a pointwise convolution, which then multiplies fewer pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeGuard

from sparsegen.frontend.simplify import count_readers
from sparsegen.graph import Conv2d, Core, Layer, LayerGraph, Pool2d, Shape


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
