"""Layers taken apart: the core alone, and each step of the epilogue as a layer of its own."""

from __future__ import annotations

from dataclasses import replace

from sparsegen.graph import Identity, Layer, LayerGraph, Shape
from sparsegen.rewriting.clamps import merge_clamps


def parts_of(layer: Layer, shapes: dict[str, Shape]) -> list[Layer]:
    """The layer as one of its core and one of each step, clamps in a row merged; the last one bears its name.

    `shapes` learns those of the others.
    """
    steps, parts = merge_clamps(layer.epilogue), list[Layer]()
    value = layer.inputs[0] if layer.inputs else ""
    if not isinstance(layer.core, Identity):
        value = f"{layer.name}:core" if steps else layer.name
        shapes[value] = layer.shape
        parts.append(replace(layer, name=value, epilogue=()))
    for number, step in enumerate(steps):
        name = layer.name if number == len(steps) - 1 else f"{layer.name}:{number}"
        shapes[name] = layer.shape
        parts.append(Layer(name, Identity(), (value,), layer.shape, (step,)))
        value = name
    return parts


def taken_apart(graph: LayerGraph) -> LayerGraph:
    """The graph with every layer in its parts: what lies between two steps is a value with a name."""
    shapes = graph.shapes()
    layers = [part for layer in graph.layers for part in parts_of(layer, shapes) or [layer]]
    return replace(graph, layers=layers)
