"""Passes that take layers away: dead ones, and those whose work the layer after them can do itself.

Such are reshapes before reshapes, transpositions before matrix products, padding before convolutions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TypeGuard

from sparsegen.graph import Conv2d, Core, Layer, LayerGraph, Linear, MatMul, Pad, Permute, Reshape


def remove_unread(graph: LayerGraph) -> LayerGraph:
    """Drop the layers and constants that no output depends on."""
    needed = set(graph.outputs)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.reads())
    layers = [layer for layer in graph.layers if layer.name in needed]
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return replace(graph, layers=layers, constants=constants)


def merge_reshapes(graph: LayerGraph) -> LayerGraph:
    """Let a reshape of a reshape read what the first one reads; the first may then be unread."""
    merged: dict[str, Layer] = {}
    for layer in graph.layers:
        source = merged.get(layer.inputs[0])
        if isinstance(layer.core, Reshape) and source and isinstance(source.core, Reshape):
            layer = replace(layer, inputs=source.inputs)
        merged[layer.name] = layer
    return replace(graph, layers=list(merged.values()))


def unflatten_linears(graph: LayerGraph) -> LayerGraph:
    """Let a linear layer between two reshapes, to [rows, in] and from [rows, out], read and give the whole.

    So GPT-2 has its linear layers. The first reshape may then be unread; another one stays where the first
    joined dimensions too.
    """
    readers = count_readers(graph)
    layers: dict[str, Layer] = {}
    shapes = graph.shapes()
    for layer in graph.layers:
        linear = layers.get(layer.inputs[0])
        if isinstance(layer.core, Reshape) and linear and isinstance(linear.core, Linear):
            flat = layers.get(linear.inputs[0])
            keeps_rows = layer.shape[-1:] == linear.shape[-1:]
            if flat and isinstance(flat.core, Reshape) and readers[linear.name] == 1 and keeps_rows:
                whole = (*layer.shape[:-1], flat.shape[-1])
                if shapes[flat.inputs[0]] == whole:
                    del layers[linear.name]
                    layer = replace(layer, core=linear.core, inputs=flat.inputs)
                else:
                    layers[linear.name] = replace(flat, name=linear.name, shape=whole)
                    layer = replace(layer, core=linear.core, inputs=(linear.name,))
        layers[layer.name] = layer
    return replace(graph, layers=list(layers.values()))


def merge_transposes(graph: LayerGraph) -> LayerGraph:
    """Let matrix products read what a transposition of their matrices reads, and permutations likewise.

    What was read before may then be unread.
    """
    merged: dict[str, Layer] = {}
    for layer in graph.layers:
        if isinstance(layer.core, MatMul):
            layer = _with_plain_matrices(layer, merged)
        elif isinstance(layer.core, Permute):
            source = merged.get(layer.inputs[0])
            if source and isinstance(source.core, Permute):
                dims = tuple(source.core.dims[dim] for dim in layer.core.dims)
                layer = replace(layer, core=Permute(dims), inputs=source.inputs)
        merged[layer.name] = layer
    return replace(graph, layers=list(merged.values()))


def _with_plain_matrices(product: Layer, layers: dict[str, Layer]) -> Layer:
    """The product, reading its inputs before a permutation of their last two dimensions alone."""
    assert isinstance(product.core, MatMul)
    flags, inputs = [product.core.transpose_a, product.core.transpose_b], list(product.inputs)
    for i, name in enumerate(product.inputs):
        source = layers.get(name)
        if source and isinstance(source.core, Permute) and len(source.shape) > 1:
            *before, second, last = range(len(source.shape))
            if source.core.dims == (*before, last, second):
                flags[i], inputs[i] = not flags[i], source.inputs[0]
    return replace(product, core=MatMul(*flags), inputs=tuple(inputs))


def merge_padding(graph: LayerGraph) -> LayerGraph:
    """Move zero padding of images into the convolution that reads it, where nothing else does."""
    readers = count_readers(graph)
    merged: dict[str, Layer] = {}
    for layer in graph.layers:
        pad = merged.get(layer.inputs[0])
        if pad and isinstance(layer.core, Conv2d) and readers[pad.name] == 1 and _is_image_padding(pad.core):
            layer = replace(layer, core=_padded(layer.core, pad.core), inputs=pad.inputs)
            del merged[pad.name]
        merged[layer.name] = layer
    return replace(graph, layers=list(merged.values()))


def count_readers(graph: LayerGraph) -> Counter[str]:
    """How often each value is read, by layers and as an output."""
    return Counter([name for layer in graph.layers for name in layer.reads()] + list(graph.outputs))


def _is_image_padding(core: Core) -> TypeGuard[Pad]:
    return (
        isinstance(core, Pad)
        and core.value == 0
        and len(core.amounts) == 4
        and core.amounts[:2] == ((0, 0), (0, 0))
    )


def _padded(core: Conv2d, pad: Pad) -> Conv2d:
    around = (*pad.amounts[2], *pad.amounts[3])
    top, bottom, left, right = (own + added for own, added in zip(core.padding, around, strict=True))
    return replace(core, padding=(top, bottom, left, right))
