"""Activations that a model spells out, as `x * sigmoid(x)`, put back as one step.

Written out, an activation reads its input twice, which keeps it out of the epilogue of the layer that
computes the input. This pass runs after fusing, when the steps of one formula are in one layer.
"""

from __future__ import annotations

import math
from dataclasses import replace

from sparsegen.frontend.simplify import remove_unread
from sparsegen.graph import Identity, Layer, LayerGraph, Step

_PLUS_3 = Step("add", operand=3.0)
_OVER_6 = Step("div", operand=6.0)
_RELU6 = Step("relu6")


def recognise_activations(graph: LayerGraph) -> LayerGraph:
    """Replace the formulas of SiLU, hard swish, hard sigmoid, softsign and GELU by these activations."""
    layers = {layer.name: layer for layer in graph.layers}
    halves = [_with_gelu(layer, layers) for layer in graph.layers]
    return remove_unread(replace(graph, layers=[_recognise(layer) for layer in halves]))


def _with_gelu(layer: Layer, layers: dict[str, Layer]) -> Layer:
    """GELU's approximation as GPT-2 writes it: a half of the input times 1 + tanh."""
    half = layers.get(str(layer.epilogue[-1].operand)) if layer.epilogue else None
    name = layer.inputs[0]
    formula = (
        Step("cube"),
        Step("mul", operand=0.044715),
        Step("add", operand=name),
        Step("mul", operand=math.sqrt(2.0 / math.pi)),
        Step("tanh"),
        Step("add", operand=1.0),
        Step("mul", operand=half.name if half else None),
    )
    if half is None or layer.epilogue != formula:
        return layer
    halved = half.inputs == (name,) and half.epilogue == (Step("mul", operand=0.5),)
    is_gelu = halved and isinstance(layer.core, Identity) and isinstance(half.core, Identity)
    return replace(layer, epilogue=(Step("gelu_tanh"),)) if is_gelu else layer


def _recognise(layer: Layer) -> Layer:
    steps = layer.epilogue
    if isinstance(layer.core, Identity):
        for formula, activation in _formulas_of_input(layer.inputs[0]):
            if steps[: len(formula)] == formula:
                return replace(layer, epilogue=(activation, *steps[len(formula) :]))
    hard_sigmoid = (_PLUS_3, _RELU6, _OVER_6)
    for start in range(len(steps) - 2):
        if steps[start : start + 3] == hard_sigmoid:
            return replace(layer, epilogue=(*steps[:start], Step("hardsigmoid"), *steps[start + 3 :]))
    return layer


def _formulas_of_input(name: str) -> tuple[tuple[tuple[Step, ...], Step], ...]:
    """Formulas that multiply by the layer's own input."""
    times_input = Step("mul", operand=name)
    return (
        ((Step("sigmoid"), times_input), Step("silu")),
        ((Step("hardsigmoid"), times_input), Step("hardswish")),
        ((_PLUS_3, _RELU6, times_input, _OVER_6), Step("hardswish")),
        ((_PLUS_3, _RELU6, _OVER_6, times_input), Step("hardswish")),
        ((Step("abs"), Step("add", operand=1.0), Step("div", operand=name, reverse=True)), Step("softsign")),
    )
