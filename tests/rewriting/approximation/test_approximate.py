"""What `approximate` returns, and what it refuses."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparsegen.errors import RewritingError
from sparsegen.outputs import save_picture
from sparsegen.rewriting import PiecewiseLinear, approximate, certificate
from sparsegen.rewriting.approximation.functions import named
from sparsegen.rewriting.approximation.picture import draw
from tests.rewriting.approximation.cases import CURVED, EXACT
from tests.sampling import examples


def relus(fit: PiecewiseLinear, x: Tensor) -> Tensor:
    form = fit.as_relus()
    return form.constant + form.slope * x + sum(d * (x - knot).relu() for knot, d in form.terms)


@st.composite
def waves(draw: st.DrawFn) -> tuple[tuple[float, float], list[tuple[float, float, float]]]:
    low = draw(st.floats(-5, 5))
    length = draw(st.floats(0.1, 8))
    part = st.tuples(st.floats(-2, 2), st.floats(0.1, 3), st.floats(0, 6))
    return (low, low + length), draw(st.lists(part, min_size=1, max_size=3))


@examples(8, soak=200)
@given(waves(), st.integers(1, 9))
def test_smooth_functions(
    wave: tuple[tuple[float, float], list[tuple[float, float, float]]], knots: int
) -> None:
    interval, parts = wave

    def f(x: Tensor) -> Tensor:
        return torch.stack([height * torch.sin(pace * x + phase) for height, pace, phase in parts]).sum(0)

    fit = approximate(f, knots=knots, interval=interval)
    more = approximate(f, knots=knots + 1, interval=interval)
    x = torch.linspace(*interval, 5001, dtype=torch.float64)
    assert fit.shown.startswith("verified densely: ")
    assert more.error <= fit.error * 1.001 + 1e-9
    assert (fit(x) - f(x)).abs().max().item() <= fit.error * 1.001 + 1e-9
    assert list(fit.knots) == sorted(set(fit.knots))
    torch.testing.assert_close(relus(fit, x), fit(x), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_any_float_dtype_and_shape(dtype: torch.dtype) -> None:
    fit = approximate("gelu", knots=8)
    x = torch.linspace(-6, 6, 96).reshape(2, 3, 16).to(dtype)
    y = fit(x)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    torch.testing.assert_close(y.double(), fit(x.double()), rtol=torch.finfo(dtype).eps, atol=1e-6)
    with pytest.raises(RewritingError, match=r"torch.int64: give a tensor of a float dtype"):
        fit(torch.arange(3))


def test_gradients_are_the_slopes() -> None:
    fit = approximate("silu", knots=4)
    x = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    fit(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad[0] == 0.0
    assert x.grad[2] == 1.0


def test_numbers_of_numpy_are_numbers() -> None:
    fit = approximate("tanh", knots=np.int64(4), interval=(np.int32(-3), np.float32(3)))
    assert fit == approximate("tanh", knots=4, interval=(-3, 3))
    assert fit.interval == (-3.0, 3.0)
    assert {type(each) for each in (fit.error, *fit.interval, *fit.knots)} == {float}
    assert approximate("gelu", max_error=np.float32(0.25)) == approximate("gelu", max_error=0.25)
    assert approximate(("softplus", np.int64(2)), knots=2) == approximate(("softplus", 2.0), knots=2)


@pytest.mark.parametrize("max_error", [0.1, 1e-2, 1e-3])
def test_the_fewest_knots_of_an_error(max_error: float) -> None:
    fit = approximate("tanh", max_error=max_error)
    assert fit.error <= max_error
    assert approximate("tanh", knots=len(fit.knots) - 1).error > max_error


@pytest.mark.parametrize("name", EXACT)
def test_a_piecewise_linear_function_is_found_exactly(name: str) -> None:
    fit = approximate(name, max_error=1e-3)
    assert len(fit.knots) == EXACT[name]
    assert fit.error < 1e-12
    assert approximate(name, knots=20) == fit


def test_a_kink_is_found_in_a_python_function() -> None:
    fit = approximate(torch.abs, knots=1, interval=(-1, 2))
    assert fit.error < 1e-5
    assert fit.knots[0] == pytest.approx(0, abs=1e-5)


def test_a_line_has_one_knot_that_bends_nothing() -> None:
    fit = approximate(lambda x: 3 * x + 1, knots=4, interval=(0, 1))
    assert len(fit.knots) == 1
    assert fit.slopes == pytest.approx((3, 3))


def test_calibration_values_set_the_interval_and_the_weights() -> None:
    samples = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    plain = approximate("gelu", knots=8, interval=(-6, 6))
    fit = approximate("gelu", knots=8, samples=samples)
    whole = approximate("gelu", knots=8, samples=samples.numpy(), interval=(-math.inf, math.inf))
    assert fit.interval[0] < samples.min() < samples.max() < fit.interval[1]
    assert -7 < fit.interval[0] < fit.interval[1] < 7
    exact = plain.function.evaluate(samples.double())
    for weighted in (fit, whole):
        assert weighted.weighted_error is not None
        assert weighted.weighted_error <= weighted.error
        assert certificate(weighted).holds
        assert (weighted(samples.double()) - exact).square().mean() < (
            plain(samples.double()) - exact
        ).square().mean()
    assert whole.slopes[0] == 0.0
    assert whole.slopes[-1] == 1.0


def test_calibration_values_stay_in_the_domain() -> None:
    fit = approximate("sqrt", max_error=0.01, samples=torch.linspace(0, 9, 100))
    assert fit.interval[0] == 0.0
    assert fit.error <= 0.01


def test_a_picture(tmp_path: object) -> None:
    path = tmp_path / "fits.png"  # type: ignore[operator]
    save_picture(draw([approximate("gelu", knots=4), approximate("sqrt", knots=2, interval=(0, 1))]), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def step(x: Tensor) -> Tensor:
    return (x > 0.3).double()


def fails(x: Tensor) -> Tensor:
    raise ValueError("no such thing")


UNIT = (0.0, 1.0)


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        ("swish2", {"knots": 2}, "no function is named 'swish2': give one of cube, elu, erf"),
        (3, {"knots": 2}, "3 is no function"),
        ("tanh", {}, "neither of max_error and knots"),
        ("tanh", {"knots": 2, "max_error": 0.1}, "both of max_error and knots"),
        ("tanh", {"knots": 0}, "knots is 0: give a number from 1 to 1,000"),
        ("tanh", {"knots": 1001}, "knots is 1,001"),
        ("tanh", {"knots": 2.5}, "knots is 2.5: give a whole number"),
        ("tanh", {"knots": True}, "knots is True"),
        ("tanh", {"max_error": 0.0}, "max_error is 0.0: give a finite number above 0"),
        ("tanh", {"max_error": -1}, "max_error is -1"),
        ("tanh", {"max_error": math.nan}, "max_error is nan"),
        ("tanh", {"max_error": math.inf}, "max_error is inf"),
        ("tanh", {"max_error": 1e-9}, "takes more than 1,000 knots"),
        ("exp", {"max_error": 1e-2, "interval": (-math.inf, 30.0)}, "takes more than 1,000 knots"),
        ("tanh", {"knots": 2, "interval": (1, 1)}, "is empty: give"),
        ("tanh", {"knots": 2, "interval": (2, 1)}, "is reversed: give"),
        ("tanh", {"knots": 2, "interval": (1, 1 + 1e-9)}, "too narrow for float64"),
        ("tanh", {"knots": 2, "interval": (math.nan, 1)}, "give two numbers"),
        ("tanh", {"knots": 2, "interval": 4}, "give two numbers"),
        ("square", {"knots": 2}, "square needs an interval"),
        ("exp", {"knots": 2, "interval": (0, math.inf)}, "no asymptote at plus infinity"),
        (torch.tanh, {"knots": 2}, "tanh needs an interval"),
        (torch.tanh, {"knots": 2, "interval": (-math.inf, 0)}, "no asymptote at minus infinity"),
        ("sqrt", {"knots": 2, "interval": (-1, 1)}, "leaves the domain of sqrt"),
        ("reciprocal", {"knots": 2, "interval": (-1, 1)}, "reciprocal is infinite at 0"),
        ("rsqrt", {"knots": 2, "interval": (0, 1)}, "rsqrt is infinite at 0"),
        ("rsqrt", {"knots": 2, "interval": (1e-300, 1)}, "rsqrt goes from 1 to 1e.150.*less extreme numbers"),
        ("square", {"knots": 2, "interval": (-1e150, 1e150)}, "float64 has no room to compute with"),
        (("softplus", 0.0), {"knots": 2}, "beta is 0: give one above 0"),
        (("softplus", 1.0, 1.0), {"knots": 4}, "jumps by 0.313.*raise the threshold"),
        (("elu", 1.0, 2.0), {"knots": 2}, "elu: 2 parameters are given; it has alpha"),
        (("tanh", 1.0), {"knots": 2}, "it has none"),
        (("elu", "x"), {"knots": 2}, "'x' is no parameter"),
        (("elu", math.inf), {"knots": 2}, "inf is no parameter"),
        (step, {"knots": 2, "interval": UNIT}, "step jumps by 1 at 0.3"),
        (torch.floor, {"knots": 2, "interval": (0.0, 7.5)}, "floor jumps by 1"),
        (torch.reciprocal, {"knots": 2, "interval": (-1.0, 2.0)}, "reciprocal (jumps|is -?inf)"),
        (torch.log, {"knots": 2, "interval": UNIT}, "log is -inf at 0"),
        (torch.sqrt, {"knots": 2, "interval": (-1, 1)}, "sqrt is nan at -1"),
        (torch.sum, {"knots": 2, "interval": UNIT}, r"sum returned a tensor of shape \(\)"),
        (lambda x: 1.0, {"knots": 2, "interval": UNIT}, "returned float"),
        (fails, {"knots": 2, "interval": UNIT}, "fails fails on a float64 tensor.*no such thing"),
        ("tanh", {"knots": 2, "samples": torch.zeros(2, 2)}, r"shape \(2, 2\): give one dimension"),
        ("tanh", {"knots": 2, "samples": torch.zeros(0)}, r"shape \(0,\)"),
        ("tanh", {"knots": 2, "samples": torch.zeros(5)}, "samples are all 0"),
        ("tanh", {"knots": 2, "samples": [1.0, 2.0]}, "samples is of type list"),
        ("tanh", {"knots": 2, "samples": np.array(["a", "b"])}, "give real numbers"),
        ("tanh", {"knots": 2, "samples": torch.tensor([1.0, math.nan])}, r"samples holds nan \(number 1\)"),
    ],
)
def test_refusals(f: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(RewritingError, match=message):
        approximate(f, **options)  # type: ignore[arg-type]


WHOLE_LINE = [name for name in CURVED if named(name).interval == (-math.inf, math.inf)]


@pytest.mark.parametrize("name", WHOLE_LINE)
def test_an_interval_may_be_as_long_as_it_likes(name: str) -> None:
    errors = [
        approximate(name, knots=5, interval=interval).error
        for interval in ((-40, 40), (-1e6, 1e6), (-math.inf, math.inf))
    ]
    # What holds on more holds on less; and far out there is nothing but the asymptotes.
    assert all(less <= more * (1 + 3e-4) for less, more in itertools.pairwise(errors))
    assert errors[1] == pytest.approx(errors[2], rel=1e-2 if name == "softsign" else 3e-4)


@pytest.mark.parametrize(
    ("f", "interval"),
    [
        ("tanh", (-math.inf, 1e5)),
        ("tanh", (5.0, 1e6)),
        ("exp", (-1e6, 0.0)),
        ("reciprocal", (1e-3, 1e12)),
        ("rsqrt", (1e-6, 1e30)),
        ("sqrt", (1e-10, 1e10)),
        (("softplus", 1e-5), (-1e12, 1e12)),
    ],
)
def test_ends_of_unlike_sizes(f: str | tuple[str | float, ...], interval: tuple[float, float]) -> None:
    fit = approximate(f, knots=4, interval=interval)
    assert fit.interval == interval
    assert certificate(fit).holds
    x = torch.logspace(-12, 12, 20_001, dtype=torch.float64)
    x = torch.cat(
        [start + side * x for start in interval for side in (-1, 1) if math.isfinite(start)] + [x, -x]
    )
    x = x[(x >= interval[0]) & (x <= interval[1])]
    off = (fit(x) - fit.function.evaluate(x)).abs().max().item()
    assert 0.9 * fit.error < off <= fit.error * (1 + 1e-9)


@pytest.mark.parametrize(
    ("at", "width", "interval"),
    [
        (0.37, 1e-3, (-1, 1)),
        (0.37, 5e-5, (-1, 1)),
        (3.3, 1e-3, (-10, 10)),
        (0.0, 1e-7, (-1, 1)),
        (0.0, 1, (-1e6, 1e6)),
    ],
)
def test_a_narrow_peak_is_found(at: float, width: float, interval: tuple[float, float]) -> None:
    fit = approximate(lambda x: torch.exp(-(((x - at) / width) ** 2)), knots=6, interval=interval)
    assert fit.error == pytest.approx(0.020227, rel=2e-3)  # as of a wide one
    assert max(fit.knots, key=lambda each: abs(each - at)) == pytest.approx(at, abs=5 * width)


def test_what_was_not_seen_is_not_claimed() -> None:
    fit = approximate(lambda x: torch.exp(-(((x - 0.37123) / 1e-9) ** 2)), knots=6, interval=(-1, 1))
    found = re.fullmatch(
        r"verified densely: the greatest error at ([\d,]+) points, neighbours at most (\S+) apart; what a "
        "peak between two of them does is not known",
        fit.shown,
    )
    assert found
    assert int(found[1].replace(",", "")) > 70_000
    assert 3e-5 < float(found[2]) < 7e-5  # between two of them is the peak


def test_a_function_that_never_ceases_to_surprise() -> None:
    def elusive(x: Tensor) -> Tensor:
        """A peak wherever many points are looked at, and nothing there later."""
        y = x.clone()
        if len(x) > 60_000:
            y[len(x) // 3] += 1
        return y

    with pytest.raises(RewritingError, match=r"elusive has peaks too narrow to be found: .* off by (0.9|1)"):
        approximate(elusive, max_error=1e-2, interval=(0, 1))
    fit = approximate(elusive, knots=1, interval=(0, 1))
    assert fit.error >= 0.49
    assert "values were still a surprise" in fit.shown


def test_the_fewest_knots_on_a_very_long_interval() -> None:
    fit = approximate("tanh", max_error=1e-2, interval=(-1e6, 1e6))
    assert len(fit.knots) == len(approximate("tanh", max_error=1e-2).knots)
    assert fit.error <= 1e-2
    assert fit.shown.startswith("proved: ")
