"""Softmax and recurrent networks by simpler operators: equal in float64, and refused with a reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from sparsegen.frontend import from_torch
from sparsegen.graph import Layer, LogSoftmax, Recurrent, Reduce, Softmax
from sparsegen.rewriting.rewrite import rewrite
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.site import Interval, Site
from tests.rewriting.rewritings import allowing, as_it_is, drafted, drawn, in_float64, site
from tests.rewriting.test_pointwise_rules import operators

SMALL = (-30.0, 30.0)
UNROLLED = ("slice", "reshape", "linear", "sigmoid", "tanh", "mul", "add", "sub", "concat")


def check_equal(rule: str, here: Site) -> None:
    inputs = drawn(here)
    found, expected = in_float64(drafted(rule, here), *inputs), in_float64(as_it_is(here), *inputs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "dim"), [((5,), 0), ((2, 6), 1), ((2, 3, 4), 1), ((2, 3, 4, 5), 3), ((2, 7), 0)]
)
@pytest.mark.parametrize(
    ("rule", "core", "structure"),
    [
        ("softmax by exp, less the maximum", Softmax, "reduce_max sub exp reduce_sum div"),
        ("softmax by exp", Softmax, "exp reduce_sum div"),
        ("log softmax by exp and log, less the maximum", LogSoftmax, "reduce_max sub exp reduce_sum log sub"),
        ("log softmax by exp and log", LogSoftmax, "exp reduce_sum log sub"),
        ("log softmax by softmax and log", LogSoftmax, "softmax log"),
    ],
)
def test_a_softmax_becomes_powers_and_their_sum(
    rule: str, core: type[Softmax | LogSoftmax], structure: str, shape: tuple[int, ...], dim: int
) -> None:
    here = site(Layer("y", core(dim), ("x",), shape), {"x": shape}, intervals={"x": SMALL})
    check_equal(rule, here)
    assert operators(drafted(rule, here)) == structure


@pytest.mark.parametrize(
    ("intervals", "reason"),
    [({}, "no calibration tells what its values are"), ({"x": (-1.0, 60.0)}, "its values reach 60")],
)
def test_powers_that_may_overflow_are_refused(intervals: dict[str, Interval], reason: str) -> None:
    here = site(Layer("y", Softmax(1), ("x",), (2, 3)), {"x": (2, 3)}, intervals=intervals)
    with pytest.raises(RefusalError) as refused:
        drafted("softmax by exp", here)
    assert reason in str(refused.value)
    drafted("softmax by exp, less the maximum", here)


def test_a_softmax_that_gives_0_for_what_is_masked_is_refused() -> None:
    here = site(Layer("y", Softmax(1, zero_if_masked=True), ("x",), (2, 3)), {"x": (2, 3)})
    with pytest.raises(RefusalError, match="it gives 0 where all is masked"):
        drafted("softmax by exp, less the maximum", here)


@pytest.mark.parametrize(
    ("shape", "dims", "keepdim"),
    [((2, 3, 4), (1,), True), ((2, 3, 4, 5), (2, 3), False), ((4, 1, 3), (0, 2), True)],
)
def test_a_sum_becomes_a_convolution_of_ones(
    shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool
) -> None:
    kept = [1 if dim in dims else extent for dim, extent in enumerate(shape) if keepdim or dim not in dims]
    here = site(Layer("y", Reduce("sum", dims, keepdim), ("x",), tuple(kept)), {"x": shape})
    check_equal("sum by convolution", here)
    assert "conv" in operators(drafted("sum by convolution", here)).split()


def test_a_sum_over_dimensions_apart_is_refused() -> None:
    here = site(Layer("y", Reduce("sum", (0, 2), False), ("x",), (3,)), {"x": (2, 3, 4)})
    with pytest.raises(RefusalError, match="its dimensions are not neighbours: 0, 2"):
        drafted("sum by convolution", here)


def recurrent_site(
    kind: str,
    *,
    steps: int,
    reverse: bool,
    initial: bool,
    keeps_cell: bool,
    padded: int = 6,
    bias: bool = True,
) -> Site:
    random = np.random.default_rng(7)
    gates, hidden, batch = (4 if kind == "lstm" else 3), 5, 2
    weight = random.standard_normal((gates * hidden, hidden)).astype(np.float32)
    own = random.standard_normal(hidden).astype(np.float32) if kind == "gru" and bias else None
    core = Recurrent("lstm" if kind == "lstm" else "gru", weight, own, reverse, keeps_cell)
    inputs: dict[str, tuple[int, ...]] = {"x": (batch, steps, gates * padded)}
    if initial:
        inputs |= {"h": (batch, hidden)} | ({"c": (batch, hidden)} if kind == "lstm" else {})
    layer = Layer("y", core, tuple(inputs), (batch, steps + keeps_cell, hidden))
    return site(layer, inputs)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("padded", [5, 8])
def test_a_recurrent_network_is_unrolled(
    kind: str, steps: int, reverse: bool, initial: bool, padded: int
) -> None:
    here = recurrent_site(
        kind, steps=steps, reverse=reverse, initial=initial, keeps_cell=False, padded=padded
    )
    check_equal("recurrent network unrolled", here)
    found = operators(drafted("recurrent network unrolled", here)).split()
    assert set(found) <= set(UNROLLED)
    assert found.count("linear") == (steps if initial else steps - 1)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_cell_is_kept(reverse: bool) -> None:
    check_equal(
        "recurrent network unrolled",
        recurrent_site("lstm", steps=3, reverse=reverse, initial=True, keeps_cell=True),
    )


def test_a_gru_without_a_bias_is_unrolled() -> None:
    here = recurrent_site("gru", steps=3, reverse=False, initial=False, keeps_cell=False, bias=False)
    check_equal("recurrent network unrolled", here)


def test_a_long_sequence_is_not_unrolled() -> None:
    here = recurrent_site("gru", steps=600, reverse=False, initial=False, keeps_cell=False)
    with pytest.raises(RefusalError, match="600 steps, and may have 512"):
        drafted("recurrent network unrolled", here)


@pytest.mark.parametrize(
    "network", [nn.LSTM(3, 4, batch_first=True, bidirectional=True), nn.GRU(3, 4, batch_first=True)]
)
def test_a_model_with_a_recurrent_network_runs_unrolled(network: nn.LSTM | nn.GRU) -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.network(x)[0]
            return result

    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    graph = from_torch(Tagger().eval(), (x,))
    found = rewrite(graph, allowing(*UNROLLED))
    assert found.unsupported == ()
    assert {each.operator for each in found.replaced} <= {"lstm", "gru"}
    torch.testing.assert_close(in_float64(found.graph, x), in_float64(graph, x), rtol=1e-9, atol=1e-9)


def test_a_softmax_is_told_to_lie_from_0_to_1() -> None:
    from sparsegen.rewriting.bounds import site_interval

    here = site(Layer("y", Softmax(1), ("x",), (2, 3)), {"x": (2, 3)})
    assert site_interval(here) == (0.0, 1.0)
    here = site(Layer("y", LogSoftmax(1), ("x",), (2, 3)), {"x": (2, 3)}, intervals={"x": (0.0, 2.0)})
    assert site_interval(here) == (-2.0 - math.log(3), 0.0)
