"""Chains of clamps become one that bounds the same."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsegen.frontend import from_torch
from sparsegen.graph import Step
from sparsegen.rewriting.clamps import merge_clamps
from sparsegen.rewriting.rewrite import rewrite
from sparsegen.torch_graph.steps import step_function
from tests.rewriting.rewritings import allowing, in_float64

RELU, RELU6 = Step("relu"), Step("relu6")


def clamp(low: float, high: float) -> Step:
    return Step("clamp", parameters=(low, high))


@pytest.mark.parametrize(
    ("steps", "merged"),
    [
        ([RELU, RELU6], [RELU6]),
        ([clamp(-1, 8), RELU6], [RELU6]),
        ([RELU, RELU], [RELU]),
        ([RELU, Step("minimum", 6.0)], [RELU6]),
        ([Step("maximum", -1.0), Step("minimum", 2)], [clamp(-1, 2)]),
        ([clamp(2, 3), clamp(-1, 1)], [clamp(1, 1)]),
        ([RELU, Step("mul", 2.0), RELU], [RELU, Step("mul", 2.0), RELU]),
        ([RELU, Step("minimum", "other")], [RELU, Step("minimum", "other")]),
        ([clamp(3, 1), RELU], [clamp(3, 1), RELU]),
        ([RELU], [RELU]),
    ],
)
def test_a_chain_becomes_one_clamp(steps: list[Step], merged: list[Step]) -> None:
    assert merge_clamps(steps) == tuple(merged)


NUMBERS = st.floats(-5, 5)
CLAMPS = st.one_of(
    st.sampled_from([RELU, RELU6]),
    st.tuples(NUMBERS, NUMBERS).map(lambda each: clamp(*each)),
    NUMBERS.map(lambda low: clamp(low, math.inf)),
    NUMBERS.map(lambda bound: Step("maximum", bound)),
    NUMBERS.map(lambda bound: Step("minimum", bound)),
    st.just(Step("neg")),
)


@given(st.lists(CLAMPS, max_size=6))
def test_merged_clamps_compute_the_same(steps: list[Step]) -> None:
    def run(chain: tuple[Step, ...] | list[Step]) -> torch.Tensor:
        value = torch.linspace(-9, 9, 181, dtype=torch.float64)
        for step in chain:
            operand = step.operand if isinstance(step.operand, float | int) else None
            value = step_function(step, in_place=False)(value, operand)
        return value

    assert torch.equal(run(steps), run(merge_clamps(steps)))


def test_a_chain_in_a_model_is_one_operator_for_the_device() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Hardtanh(-1, 7), nn.ReLU6(), nn.ReLU()).eval()
    x = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 9
    graph = from_torch(model, (x,))
    found = rewrite(graph, allowing("conv", "relu6"))
    assert [step.op for layer in found.graph.layers for step in layer.epilogue] == ["relu6"]
    assert found.replaced == ()
    torch.testing.assert_close(in_float64(found.graph, x), in_float64(graph, x), rtol=0, atol=0)
