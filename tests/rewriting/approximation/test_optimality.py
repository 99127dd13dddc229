"""Nothing better exists: another kind of search finds nothing, and a little less error takes more knots."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sparsegen.errors import RewritingError
from sparsegen.rewriting import approximate, certificate
from sparsegen.rewriting.approximation.functions import named
from tests.rewriting.approximation.cases import CURVED, INTERVALS
from tests.rewriting.approximation.oracle import even_error, least_error
from tests.sampling import large

SMOOTH = ("softplus", "tanh", "gelu", "silu", "exp", "reciprocal")


@pytest.mark.parametrize(
    ("name", "knots"), [("softplus", 2), ("tanh", 3), ("gelu", 4), ("exp", 4), ("square", 3), ("sqrt", 3)]
)
def test_linear_programs_from_many_starts_find_nothing_better(name: str, knots: int) -> None:
    function = named(name)
    interval = INTERVALS.get(name) or function.interval
    assert interval is not None
    found = least_error(function, interval, knots, starts=3)
    error = approximate(name, knots=knots, interval=interval).error
    assert error <= 1.02 * found
    assert found <= 1.02 * error, "the oracle did not converge"


@large(("name", "knots"), itertools.product(CURVED, range(1, 33)), sample=32)
def test_two_percent_less_error_takes_more_knots(name: str, knots: int) -> None:
    fit = approximate(name, knots=knots, interval=INTERVALS.get(name))
    assert len(fit.knots) <= knots
    assert certificate(fit, knots=knots).holds


@large(("name", "knots"), itertools.product(CURVED, (2, 4, 8, 16, 32)), sample=17)
def test_even_knots_are_worse(name: str, knots: int) -> None:
    function = named(name)
    fit = approximate(name, knots=knots, interval=INTERVALS.get(name))
    assert fit.error < even_error(function, fit.interval, knots)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_error_falls_as_the_square_of_the_knots(name: str) -> None:
    knots = np.array([8, 16, 32])
    errors = [approximate(name, knots=int(each), interval=INTERVALS.get(name)).error for each in knots]
    exponent = -np.polyfit(np.log(knots), np.log(errors), 1)[0]
    assert 1.8 < exponent < 2.2


def test_softplus_by_two_relus() -> None:
    fit = approximate("softplus", knots=2)
    assert fit.error == pytest.approx(0.111572, abs=1e-5)
    # log(1 + exp(x)) - x / 2 is even, and so is the best fit.
    assert fit.knots[0] == pytest.approx(-fit.knots[1], rel=1e-2)
    assert fit.slopes == (0.0, pytest.approx(0.5, rel=1e-2), 1.0)


def test_a_parabola_errs_by_what_theory_says() -> None:
    fit = approximate("square", knots=5, interval=(-1, 2))
    assert fit.error == pytest.approx((3 / 6) ** 2 / 8, rel=1e-4)
    assert fit.knots == pytest.approx((-0.5, 0, 0.5, 1, 1.5), abs=1e-3)


def test_a_certificate_that_fails() -> None:
    fit = approximate("tanh", knots=1)
    assert not certificate(fit, knots=2).holds
    with pytest.raises(RewritingError, match="share is 0"):
        certificate(fit, share=0)
