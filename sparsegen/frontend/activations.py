"""Activations that a model spells out, as `x * sigmoid(x)`, put back as one step.

Written out, an activation reads its input twice, which keeps it out of the epilogue of the layer that
computes the input. This pass runs after fusing, when the steps of one formula are in one layer.
"""

from __future__ import annotations

from dataclasses import replace

from sparsegen.graph import Identity, Layer, LayerGraph, Step

_PLUS_3 = Step("add", operand=3.0)
_OVER_6 = Step("div", operand=6.0)
_RELU6 = Step("relu6")


def recognise_activations(graph: LayerGraph) -> LayerGraph:
    """Replace the formulas of SiLU, hard swish and hard sigmoid by these activations."""
    return replace(graph, layers=[_recognise(layer) for layer in graph.layers])


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
