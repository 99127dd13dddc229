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
from sparsegen.hetero.problem.answer_json import is_optimal
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task
from sparsegen.hetero.solver.copies import copies, equivalent_devices
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.periodic import is_entangled
from sparsegen.hetero.solver.retime import is_allowed
from sparsegen.hetero.solver.steady import carries_arrive, steady
from sparsegen.hetero.solver.throughput import pipelining
from tests.hetero import exhaustive_period, milp
from tests.hetero.periodic_checker import check_pipelining, least_period
from tests.hetero.problems import on_buses, random_problem
from tests.hetero.stream import latest
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
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "exclusive", "buses"]),
    st.booleans(),
)
def test_a_periodic_schedule_is_sound_and_takes_its_period(
    seed: int, tasks: int, extras: bool, ends: bool, links: str, carries: bool
) -> None:
    """Of any placement: what is reserved does not overlap, and a stream in that order keeps to the times."""
    problem = random_problem(seed, tasks=tasks, extras=extras, exclusive=0.5 * (links == "exclusive"))
    problem = on_buses(problem, seed) if links == "buses" else problem
    problem = with_carries(problem, seed) if carries else problem
    problem = with_ends(problem) if ends else problem
    instance, random = Instance(problem), Random(seed)
    placement = [random.choice(instance.domain(task)) for task in range(instance.count)]
    state = steady(instance, placement)
    if not is_allowed(instance, placement) or not carries_arrive(instance, placement):
        assert state.period == math.inf
        return
    found = pipelining(instance, placement, state, 0.0, "")
    check_pipelining(problem, found)
    names = dict(zip(instance.names, (problem.devices[each] for each in placement), strict=True))
    assert state.period >= least_period(problem, names) * (1 - 1e-9)
    assert latest(problem, found) <= 1e-9
    if is_entangled(instance):
        assert found.period >= state.period
    else:
        assert found.period == state.period == pytest.approx(least_period(problem, names))


@large(("hundreds", "tens", "ones"), product(range(10), repeat=3), sample=18)
def test_no_placement_is_better(hundreds: int, tens: int, ones: int) -> None:
    seed = 100 * hundreds + 10 * tens + ones
    problem = random_problem(seed, tasks=8, extras=seed % 3 == 0, exclusive=0.4 * (seed % 2))
    found = solve(problem, "throughput")
    check_pipelining(problem, found)
    assert latest(problem, found) <= 1e-9
    least = exhaustive_period.least_bound(problem)
    if len(found.replicas) == 1:
        assert is_optimal(found)
        assert found.period == pytest.approx(least)
    else:
        assert found.period < least


@large(("row", "column", "bus"), product(range(10), range(10), (False, True)), sample=14)
def test_a_mixed_integer_program_finds_nothing_better(row: int, column: int, bus: bool) -> None:
    """Of 10 operators; with links that are exclusive, or that all share a bus."""
    seed = 10 * row + column
    problem = random_problem(seed, tasks=10, density=0.3, exclusive=0.5)
    if bus:
        links = tuple(replace(link, exclusive=False, buses=("usb",)) for link in problem.links)
        problem = replace(problem, links=links)
    found = solve(problem, "throughput")
    check_pipelining(problem, found)
    if len(found.replicas) == 1:
        assert is_optimal(found)
        assert found.period == pytest.approx(milp.least_period(problem), rel=1e-6)


@large(("row", "column", "carries"), product(range(10), range(20), (False, True)), sample=20)
def test_nothing_is_better_than_what_is_called_optimal(row: int, column: int, carries: bool) -> None:
    """With recurrences, and where transfers take two buses, the bound may be out of reach."""
    seed = 20 * row + column
    problem = on_buses(random_problem(seed, tasks=7, extras=bool(seed % 2)), seed)
    problem = with_ends(with_carries(problem, seed) if carries else problem)
    found = solve(problem, "throughput")
    check_pipelining(problem, found)
    least = exhaustive_period.least_bound(problem)
    if len(found.replicas) == 1:
        assert found.bound <= least * (1 + 1e-9)
        assert found.period >= least * (1 - 1e-9)
        assert not is_optimal(found) or found.period == pytest.approx(least)


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


def test_a_device_runs_the_next_input_while_it_waits_for_another() -> None:
    """A runs x and z of different inputs in turn: 2 s, where one input after the other would take 3."""
    times = ({"a": 1.0}, {"b": 1.0}, {"a": 1.0})
    tasks = [Task(f"t{n}", (f"t{n - 1}",) if n else (), 0, each) for n, each in enumerate(times)]
    found = solve(Problem(("a", "b"), tuple(tasks), BOTH_WAYS), "throughput")
    assert (found.period, found.limit, found.bound, found.latency) == (2.0, "device a", 2.0, 4.0)


@pytest.mark.parametrize(("bus", "period"), [("", 2.0), ("usb", 4.0)])
def test_both_ways_of_a_bus_share_its_time(bus: str, period: float) -> None:
    links = tuple(Link(*way, 2.0, 1e9, not bus, (bus,) if bus else ()) for way in (("a", "b"), ("b", "a")))
    tasks = (
        Task("x", (), 0, {"a": 1.0}),
        Task("y", ("x",), 0, {"b": 1.0}),
        Task("z", ("y",), 0, {"a": 1.0}),
    )
    found = solve(Problem(("a", "b"), tasks, links), "throughput")
    assert found.period == found.bound == period
    assert found.limit == ("bus usb" if bus else "device a")
    assert solve(Problem(("a", "b"), tasks, links)).makespan == 7.0


def test_transfers_to_two_partners_share_a_bus() -> None:
    """For one input: x goes to b, and then, over the same bus, to c."""
    links = tuple(Link("a", other, 2.0, 1e9, buses=("usb",)) for other in "bc")
    tasks = (
        Task("x", (), 0, {"a": 1.0}),
        Task("y", ("x",), 0, {"b": 1.0}),
        Task("z", ("x",), 0, {"c": 1.0}),
    )
    assert solve(Problem(("a", "b", "c"), tasks, links)).makespan == 1 + 2 + 2 + 1
    apart = tuple(replace(link, buses=(), exclusive=True) for link in links)
    assert solve(Problem(("a", "b", "c"), tasks, apart)).makespan == 1 + 2 + 1


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


def test_copies_share_a_host_that_computes_nothing() -> None:
    """An input of 1 s on the way to each of two accelerators, which take 3 s each; results are small."""
    ends = {"in": Task("in", bytes=10**9, times={"pc": 0.0}), "out": Task("out", ("x",), times={"pc": 0.0})}
    task = Task("x", ("in",), times={"a": 3.0, "b": 3.0})
    ways = [("pc", name) for name in "ab"] + [(name, "pc") for name in "ab"]
    links = tuple(Link(*way, 0.0, 1e9, buses=(way[way[0] == "pc"],)) for way in ways)
    problem = Problem(("pc", "a", "b"), (ends["in"], task, ends["out"]), links)
    found = solve(problem, "throughput")
    assert (found.period, found.latency, found.replicas) == (1.5, 4.0, ({}, {"a": "b"}))
    together = tuple(replace(each, buses=("hub",)) for each in links)
    shared = solve(replace(problem, links=together), "throughput")
    assert shared.replicas == ({},), "copies would share a bus"
    assert shared.period == 3.0


def test_what_is_carried_forbids_copies() -> None:
    problem = twins()
    first, second = problem.tasks
    problem = replace(problem, tasks=(first, replace(second, carries=("t1",))))
    found = solve(problem, "throughput")
    assert (found.period, len(found.replicas)) == (3.0, 1)
    assert copies(problem, [("a", "b")], lambda _: None) is None


def test_copies_do_not_share_a_bus() -> None:
    """A copy is two devices that hand over; where all links are one bus, it would be one device alone."""
    times = {"a": 1.0, "b": 4.0, "c": 1.0, "d": 4.0}, {"a": 4.0, "b": 1.0, "c": 4.0, "d": 1.0}
    tasks = tuple(Task(f"t{n}", ("t0",) if n else (), 0, each) for n, each in enumerate(times))
    links = tuple(Link(*way, 0.3, 1e9) for way in product("abcd", repeat=2) if way[0] != way[1])
    apart = Problem(("a", "b", "c", "d"), tasks, links)
    own = replace(apart, links=tuple(replace(ln, buses=(ln.source, ln.target)) for ln in links))
    one = replace(apart, links=tuple(replace(link, buses=("usb",)) for link in links))
    for problem in (apart, own):
        found = solve(problem, "throughput")
        assert (found.period, len(found.replicas)) == (0.5, 2)
    found = solve(one, "throughput")
    assert (found.period, len(found.replicas)) == (1.0, 1)


def test_equivalent_devices_have_equal_times_stores_and_links() -> None:
    problem = twins()
    assert equivalent_devices(problem) == [("a", "b")]
    assert equivalent_devices(replace(problem, links=BOTH_WAYS[:1])) == [("a",), ("b",)]
    assert equivalent_devices(replace(problem, stores={"a": Store(memory=9)})) == [("a",), ("b",)]
    slower = replace(problem.tasks[0], times={"a": 3.0, "b": 4.0})
    assert equivalent_devices(replace(problem, tasks=(slower, problem.tasks[1]))) == [("a",), ("b",)]
