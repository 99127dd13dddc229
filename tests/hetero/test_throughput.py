"""Periods: against a stream that is run, and against every placement."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.hetero import solve
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task
from sparsegen.hetero.solver.copies import copies, equivalent_devices
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.retime import is_allowed
from sparsegen.hetero.solver.steady import carries_arrive, steady
from tests.hetero.problems import random_problem
from tests.hetero.stream import measured_period
from tests.sampling import examples, large

BOTH_WAYS = (Link("a", "b", 0.0, 1e9), Link("b", "a", 0.0, 1e9))


def with_carries(problem: Problem, seed: int) -> Problem:
    """Some tasks carry the result of a task at random, of their own too."""
    random = Random(seed)
    names = [task.name for task in problem.tasks]
    return replace(
        problem,
        tasks=tuple(
            replace(task, carries=(random.choice(names),) if random.random() < 0.2 else ())
            for task in problem.tasks
        ),
    )


def with_ends(problem: Problem) -> Problem:
    """An input that all tasks read that read nothing else, and a result, both on the first device."""
    read = {name for task in problem.tasks for name in task.reads}
    here = {problem.devices[0]: 0.0}
    tasks = (task if task.reads else replace(task, reads=("in",)) for task in problem.tasks)
    last = tuple(task.name for task in problem.tasks if task.name not in read)
    return replace(
        problem, tasks=(Task("in", bytes=10**5, times=here), *tasks, Task("out", reads=last, times=here))
    )


@examples(40)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans(), st.booleans())
def test_the_period_is_that_of_a_stream_that_runs(seed: int, tasks: int, extras: bool, ends: bool) -> None:
    problem = with_carries(random_problem(seed, tasks=tasks, extras=extras), seed)
    if ends:
        problem = with_ends(problem)
    instance, random = Instance(problem), Random(seed)
    placement = [random.choice(instance.domain(task)) for task in range(instance.count)]
    state = steady(instance, placement)
    if not is_allowed(instance, placement) or not carries_arrive(instance, placement):
        assert state.period == math.inf
        return
    names = dict(zip(instance.names, (problem.devices[each] for each in placement), strict=True))
    assert state.period == pytest.approx(measured_period(problem, names), rel=1e-6)


@large(("row", "column", "extras"), product(range(10), range(10), (False, True)), sample=12)
def test_no_placement_is_better(row: int, column: int, extras: bool) -> None:
    seed = 10 * row + column
    problem = with_carries(random_problem(seed, tasks=6, extras=extras, exclusive=0.3), seed)
    found, instance = solve(problem, "throughput"), Instance(problem)
    states = [steady(instance, placement) for placement in product(range(3), repeat=6)]
    least = min(state.period for state in states)
    assert found.period == found.bound == pytest.approx(least)
    assert found.latency == pytest.approx(
        min(state.latency for state in states if state.period <= least * (1 + 1e-9))
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_placement_is_better_between_an_input_and_a_result(seed: int) -> None:
    problem = with_ends(with_carries(random_problem(seed, tasks=5), seed))
    found, instance = solve(problem, "throughput"), Instance(problem)
    states = [steady(instance, [0, *placement, 0]) for placement in product(range(3), repeat=5)]
    assert found.period == found.bound == pytest.approx(min(state.period for state in states))


def test_a_device_does_not_wait_for_a_result_that_others_compute() -> None:
    tasks = (
        Task("in", bytes=0, times={"a": 0.0}),
        Task("x", ("in",), 0, {"a": 2.0}),
        Task("y", ("x",), 0, {"b": 3.0}),
        Task("out", ("y",), 0, {"a": 0.0}),
    )
    found = solve(Problem(("a", "b"), tasks, BOTH_WAYS), "throughput")
    assert (found.period, found.limit, found.latency) == (3.0, "device b", 5.0)


@pytest.mark.parametrize("seed", range(2))
def test_a_large_problem_keeps_to_its_bound_and_beats_each_device_alone(seed: int) -> None:
    problem = random_problem(seed, tasks=30, extras=bool(seed))
    found, instance = solve(problem, "throughput"), Instance(problem)
    state = steady(instance, [problem.devices.index(device) for device in found.placement.values()])
    assert (state.period, state.limit) == (found.period, found.limit)
    assert 0 < found.bound <= found.period
    assert found.period <= sum(task.times["a"] + task.invocation.get("a", 0.0) for task in problem.tasks)
    assert found == solve(problem, "throughput")


def test_stages_use_both_devices() -> None:
    tasks = [Task(f"t{n}", (f"t{n - 1}",) if n else (), 0, {"a": 1.0, "b": 1.5}) for n in range(5)]
    found = solve(Problem(("a", "b"), tuple(tasks), BOTH_WAYS), "throughput")
    assert (found.period, found.limit, found.latency) == (3.0, "device a", 6.0)


def test_a_device_that_waits_for_another_is_told() -> None:
    times = ({"a": 1.0}, {"b": 1.0}, {"a": 1.0})
    tasks = [Task(f"t{n}", (f"t{n - 1}",) if n else (), 0, each) for n, each in enumerate(times)]
    found = solve(Problem(("a", "b"), tuple(tasks), BOTH_WAYS), "throughput")
    assert (found.period, found.limit) == (3.0, "devices a, b in turn")


def test_a_recurrence_over_two_devices_bounds_the_period() -> None:
    tasks = (
        Task("in", (), 0, {"a": 1.0}),
        Task("cell", ("in",), 0, {"b": 2.0}, carries=("out",)),
        Task("out", ("cell",), 10**9, {"c": 2.0}),
    )
    links = (Link("a", "b", 0.0, 1e9), Link("b", "c", 0.0, 1e9), Link("c", "b", 0.5, 1e9))
    found = solve(Problem(("a", "b", "c"), tasks, links), "throughput")
    assert (found.period, found.limit) == (5.5, "recurrence cell")  # 2 + 2, and 1.5 on the way back


def test_an_exclusive_link_bounds_the_period() -> None:
    tasks = (Task("x", (), 4 * 10**9, {"a": 1.0}), Task("y", ("x",), 0, {"b": 1.0}))
    found = solve(Problem(("a", "b"), tasks, (Link("a", "b", 0.0, 1e9, exclusive=True),)), "throughput")
    assert (found.period, found.limit, found.latency) == (4.0, "link a-b", 6.0)


def test_weights_past_the_cache_cost_and_memory_is_a_hard_limit() -> None:
    tasks = tuple(Task(f"t{n}", (), 0, {"a": 1.0, "b": 9.0}, weights=10) for n in range(4))
    problem = Problem(("a", "b"), tasks, (), {"a": Store(cache=20, stream=1.0)})
    assert solve(problem, "throughput").period == 13.0  # 3 on a: 3, and 10 bytes streamed
    problem = replace(problem, stores={"a": Store(memory=10)})
    assert solve(problem, "throughput").period == 27.0


def twins() -> Problem:
    """A chain of unequal operators on two equal devices: copies balance what stages cannot."""
    times = (3.0, 1.0)
    tasks = [
        Task(f"t{n}", (f"t{n - 1}",) if n else (), 0, {"a": each, "b": each}) for n, each in enumerate(times)
    ]
    return Problem(("a", "b"), tuple(tasks), BOTH_WAYS)


def test_copies_are_taken_where_they_are_better() -> None:
    found = solve(twins(), "throughput")
    assert (found.period, found.bound, found.latency) == (2.0, 2.0, 4.0)
    (device,) = set(found.placement.values())
    assert len(found.replicas) == 2
    assert {device, found.replicas[1][device]} == {"a", "b"}
    assert found.replicas[0] == {}


def test_what_is_carried_forbids_copies() -> None:
    problem = twins()
    first, second = problem.tasks
    problem = replace(problem, tasks=(first, replace(second, carries=("t1",))))
    found = solve(problem, "throughput")
    assert (found.period, len(found.replicas)) == (3.0, 1)
    assert copies(problem, [("a", "b")], lambda _: None) is None


def test_equivalent_devices_have_equal_times_stores_and_links() -> None:
    problem = twins()
    assert equivalent_devices(problem) == [("a", "b")]
    assert equivalent_devices(replace(problem, links=BOTH_WAYS[:1])) == [("a",), ("b",)]
    assert equivalent_devices(replace(problem, stores={"a": Store(memory=9)})) == [("a",), ("b",)]
    slower = replace(problem.tasks[0], times={"a": 3.0, "b": 4.0})
    assert equivalent_devices(replace(problem, tasks=(slower, problem.tasks[1]))) == [("a",), ("b",)]
