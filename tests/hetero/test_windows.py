"""Latency of streams: shortened, never lengthened, and at no price in the period."""

from __future__ import annotations

from random import Random
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sparsegen.hetero.problem.problem import Problem
from sparsegen.hetero.solver import periodic as module
from sparsegen.hetero.solver.heft import heft
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.periodic import Periodic, period_of, periodic
from sparsegen.hetero.solver.reservations import Reservations
from sparsegen.hetero.solver.retime import is_allowed
from sparsegen.hetero.solver.steady import carries_arrive, steady
from sparsegen.hetero.solver.throughput import pipelining
from tests.hetero.periodic_checker import check_pipelining
from tests.hetero.problems import on_buses, random_problem
from tests.hetero.stream import latest
from tests.hetero.test_throughput import with_carries, with_ends
from tests.sampling import examples


def as_found(instance: Instance, placement: list[int], least: float) -> Periodic:
    """The schedule before its latency is shortened."""
    with mock.patch.object(module, "shortened", lambda chores, period, starts: starts):
        return periodic(instance, placement, least)


def test_what_takes_no_time_hides_nothing_that_begins_with_it() -> None:
    reserved = Reservations(1.0)
    for start, seconds in ((0.5 + 1e-14, 0.0), (0.5, 0.25)):
        reserved.take([0], start, seconds)
    assert reserved.earliest([0], 0.125, 0.5) == pytest.approx(0.75)
    assert reserved.tightest(0, 0.125) == pytest.approx(0.75)


@examples(40)
@example(8369, 34, False, "buses", False)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from(["", "exclusive", "buses"]),
    st.booleans(),
)
def test_the_period_stays_and_the_latency_never_grows(
    seed: int, tasks: int, extras: bool, links: str, carries: bool
) -> None:
    problem = random_problem(seed, tasks=tasks, extras=extras, exclusive=0.5 * (links == "exclusive"))
    problem = on_buses(problem, seed) if links == "buses" else problem
    problem = with_ends(with_carries(problem, seed) if carries else problem)
    instance, random = Instance(problem), Random(seed)
    placement = [random.choice(instance.domain(task)) for task in range(instance.count)]
    if not is_allowed(instance, placement) or not carries_arrive(instance, placement):
        return
    state = steady(instance, placement)
    before, after = as_found(instance, placement, state.period), periodic(instance, placement, state.period)
    assert after.period == before.period == period_of(instance, placement, state.period)
    assert after.latency <= before.latency
    found = pipelining(instance, placement, state, 0.0, "")
    check_pipelining(problem, found)
    assert latest(problem, found) <= 1e-9


@pytest.mark.parametrize("bus", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_an_input_of_a_large_problem_takes_few_periods(seed: int, bus: bool) -> None:
    """Where it took 20 and more: what waits had missed its place in the period, time after time."""
    problem = large(seed, bus=bus)
    instance = Instance(problem)
    rival = heft(instance)
    assert rival is not None
    placement = list(rival.placement)
    least = steady(instance, placement).period
    before, after = as_found(instance, placement, least), periodic(instance, placement, least)
    assert after.period == before.period
    assert before.latency > 20 * before.period
    assert after.latency < 8 * after.period


def large(seed: int, *, bus: bool) -> Problem:
    problem = random_problem(seed, tasks=300, missing=0.0)
    return on_buses(problem, seed) if bus else problem
