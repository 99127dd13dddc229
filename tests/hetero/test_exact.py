"""Makespans against oracles of other kinds: everything tried, and a mixed-integer program."""

from __future__ import annotations

from itertools import product

import pytest

from sparsegen.hetero import solve
from sparsegen.hetero.problem.problem import Problem
from sparsegen.hetero.solver import exact
from sparsegen.hetero.solver.bounds import lower_bound
from sparsegen.hetero.solver.instance import Instance
from tests.hetero import exhaustive, milp
from tests.hetero.checker import check_schedule
from tests.hetero.problems import chain_problem, on_buses, random_problem
from tests.sampling import large


def check_optimum(problem: Problem, optimum: float) -> None:
    schedule = solve(problem)
    check_schedule(problem, schedule)
    assert schedule.optimal
    assert schedule.makespan == pytest.approx(optimum, rel=1e-6)


@large(("hundreds", "tens", "ones"), product(range(10), repeat=3), sample=50)
def test_trying_everything_finds_nothing_better(hundreds: int, tens: int, ones: int) -> None:
    problem = random_problem(100 * hundreds + 10 * tens + ones, tasks=8, devices=3)
    check_optimum(problem, exhaustive.least_makespan(problem))


@large(("row", "column"), product(range(20), range(10)), sample=50)
def test_a_mixed_integer_program_finds_nothing_better(row: int, column: int) -> None:
    problem = random_problem(10 * row + column, tasks=12, devices=3, density=0.4)
    check_optimum(problem, milp.least_makespan(problem))


@large(("row", "column"), product(range(10), range(20)), sample=20)
def test_invocations_stores_and_groups(row: int, column: int) -> None:
    problem = random_problem(20 * row + column, tasks=6, devices=3, extras=True)
    check_optimum(problem, exhaustive.least_makespan(problem))


@large(("row", "column", "extras"), product(range(10), range(10), (False, True)), sample=20)
def test_exclusive_links(row: int, column: int, extras: bool) -> None:
    problem = random_problem(10 * row + column, tasks=5, devices=2, exclusive=0.8, extras=extras)
    check_optimum(problem, exhaustive.least_makespan(problem))


@large(("row", "column"), product(range(10), range(10)), sample=10)
def test_exclusive_links_between_three_devices(row: int, column: int) -> None:
    problem = random_problem(10 * row + column, tasks=4, devices=3, exclusive=0.6)
    check_optimum(problem, exhaustive.least_makespan(problem))


@large(("row", "column", "devices"), product(range(10), range(10), (2, 3)), sample=14)
def test_buses(row: int, column: int, devices: int) -> None:
    """One transfer at a time on all links of a device, both ways."""
    seed = 10 * row + column
    problem = on_buses(random_problem(seed, tasks=7 - devices, devices=devices), seed)
    check_optimum(problem, exhaustive.least_makespan(problem))


@pytest.mark.parametrize("seed", range(10))
def test_chains(seed: int) -> None:
    problem = chain_problem(seed, tasks=7)
    assert solve(problem).method == "chain"
    check_optimum(problem, exhaustive.least_makespan(problem))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most_labels", [1, 10, 100])
def test_a_search_that_is_cut_short_has_a_valid_bound(seed: int, most_labels: int) -> None:
    problem = random_problem(seed, tasks=9)
    instance, optimum = Instance(problem), solve(problem).makespan
    assert lower_bound(instance) <= optimum
    found = exact.search(instance, 10 * optimum, most_labels=most_labels)
    assert found.bound <= optimum * (1 + 1e-9)
    assert found.better is None or found.better.timeline(instance).makespan() >= optimum * (1 - 1e-9)


def test_an_exclusive_link_delivers_first_what_is_needed_most() -> None:
    from sparsegen.hetero.problem.problem import Link, Task

    slow = {"a": 1.0}
    problem = Problem(
        ("a", "b"),
        (
            Task("first", (), 10, slow),
            Task("second", (), 10, slow),
            Task("short", ("first",), 0, {"b": 1.0}),
            Task("long", ("second",), 0, {"b": 9.0}),
        ),
        (Link("a", "b", 0.0, 1.0, exclusive=True),),
    )
    # second is computed and sent first: 1 + 10 + 9, and the short one ends at 22
    schedule = solve(problem)
    check_schedule(problem, schedule)
    assert schedule.makespan == 22.0
    assert [each.task for each in schedule.transfers] == ["second", "first"]
