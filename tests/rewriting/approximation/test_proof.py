"""What a proof takes for granted of a function is so, and the error that is proved holds."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch

from sparsegen.rewriting import approximate
from sparsegen.rewriting.approximation.functions import NAMES, named
from sparsegen.rewriting.approximation.gates import evaluate
from tests.rewriting.approximation.cases import INTERVALS
from tests.sampling import large

mp = mpmath.mp.clone()
mp.dps = 60


def relu6(x: mpmath.mpf) -> mpmath.mpf:
    return min(max(x, 0), 6)


def sigmoid(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mp.exp(-x))


EXACT = {
    "cube": lambda x: x**3,
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "erf": mp.erf,
    "exp": mp.exp,
    "expm1": mp.expm1,
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_tanh": lambda x: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
    "hardsigmoid": lambda x: relu6(x + 3) / 6,
    "hardswish": lambda x: x * relu6(x + 3) / 6,
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "log": mp.log,
    "log10": mp.log10,
    "log1p": mp.log1p,
    "log2": lambda x: mp.log(x, 2),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "sqrt": mp.sqrt,
    "square": lambda x: x * x,
    "tanh": mp.tanh,
}


def places(name: str) -> np.ndarray:
    low, high = named(name).interval or INTERVALS[name]
    return np.linspace(max(low, -9.03), min(high, 9.01), 121)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_as_exact_as_the_proof_assumes(name: str) -> None:
    x = places(name)
    function = named(name)
    for at, y in zip(x, evaluate(function, x), strict=True):
        exact = EXACT[name](mp.mpf(float(at)))
        assert abs(exact - mp.mpf(float(y))) <= 8 * 2.0**-53 * (1 + abs(exact)) + function.jump


@pytest.mark.parametrize("name", NAMES)
def test_functions_bend_as_the_proof_assumes(name: str) -> None:
    function = named(name)
    assert function.bends is not None
    assert len(function.bends) == len(function.breaks) + 1
    step = mp.mpf(10) ** -7
    near = [each + side for each in function.breaks for side in (-1e-6, 1e-6) if name != "reciprocal"]
    for at in [*places(name)[1:-1], *near]:
        bend = function.bends[int(np.searchsorted(function.breaks, at))]
        x = mp.mpf(float(at))
        turn = EXACT[name](x - step) - 2 * EXACT[name](x) + EXACT[name](x + step)
        assert abs(turn) < 1e-30 if bend == 0 else turn * bend > 0


@pytest.mark.parametrize("name", NAMES)
def test_asymptotes(name: str) -> None:
    function = named(name)
    for asymptote, side in ((function.left, -1), (function.right, 1)):
        if asymptote is not None:
            x = mp.mpf(side) * mp.mpf(10) ** 9
            assert abs(EXACT[name](x) - asymptote.slope * x - asymptote.offset) < 1e-4


@large(("name", "knots"), itertools.product(NAMES, (1, 2, 3, 5, 8, 13, 21, 32)), sample=30)
def test_the_error_holds_on_dense_points_and_on_the_far_line(name: str, knots: int) -> None:
    fit = approximate(name, knots=knots, interval=INTERVALS.get(name))
    low, high = fit.interval
    x = torch.linspace(max(low, -30), min(high, 30), 60_001, dtype=torch.float64)
    if math.isinf(low):
        x = torch.cat((x, -torch.logspace(0, 6, 2001, dtype=torch.float64)))
    if math.isinf(high):
        x = torch.cat((x, torch.logspace(0, 6, 2001, dtype=torch.float64)))
    found = (fit(x) - fit.function.evaluate(x)).abs().max().item()
    assert found <= fit.error + 1e-9
    assert fit.error <= found * 1.001 + 1e-9, "the bound is loose"
    assert fit.shown.startswith("proved: ")


@pytest.mark.parametrize(
    "f",
    [("softplus", 2.0), ("elu", 0.5), ("elu", 1.7), ("elu", -1), ("leaky_relu", 0.2), ("softplus", 300.0)],
)
def test_parameters(f: tuple[str, float]) -> None:
    fit = approximate(f, knots=5)
    x = torch.linspace(-20, 20, 200_001, dtype=torch.float64)
    assert (fit(x) - named(*f).evaluate(x)).abs().max().item() <= fit.error + 1e-12
    assert fit.error < 0.1


@pytest.mark.parametrize(("name", "interval"), [("rsqrt", (0.5, math.inf)), ("softplus", (-math.inf, 1.0))])
def test_an_interval_with_one_infinite_end(name: str, interval: tuple[float, float]) -> None:
    fit = approximate(name, knots=6, interval=interval)
    x = torch.logspace(math.log10(0.5), 12, 100_001, dtype=torch.float64)
    x = x if interval[0] > 0 else 1.5 - x
    assert (fit(x) - fit.function.evaluate(x)).abs().max().item() <= fit.error + 1e-9
