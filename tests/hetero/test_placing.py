"""Plans of a solver's answers: what passes from one input to the next has its way and its time in them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import pytest

from sparsegen.devices import connect, make_device
from sparsegen.errors import PlanError
from sparsegen.hetero import solve
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.export import OperatorCost
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.merging import bound_of_plans
from sparsegen.hetero.plans.placing import Subject, plan_of
from sparsegen.hetero.plans.plan import Goal, Plan
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.hetero.plans.posing import Posed
from sparsegen.hetero.problem.problem import Link, Pipelining, Problem, Schedule, Task
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.retime import is_allowed, retime
from tests.hetero.problems import on_buses, random_problem
from tests.hetero.test_throughput import with_carries, with_ends
from tests.sampling import large


def between_ends(tasks: tuple[Task, ...], *, exclusive: bool = False) -> Problem:
    """Tasks between an input and a result, on devices a and b with links of 1 s."""
    links = tuple(Link(*way, 1.0, 1e9, exclusive) for way in (("a", "b"), ("b", "a")))
    whole = (Task("in", times={"a": 0.0}), *tasks, Task("out", (tasks[-1].name,), times={"a": 0.0}))
    return Problem(("a", "b"), whole, links)


def planned(tasks: tuple[Task, ...], goal: Goal, *, exclusive: bool = False) -> Plan:
    """The plan of tasks between an input and a result, on devices a and b with links of 1 s."""
    problem = between_ends(tasks, exclusive=exclusive)
    return as_plan(problem, solve(problem, goal))


def as_plan(problem: Problem, answer: Schedule | Pipelining) -> Plan:
    """The plan of an answer to a problem between an input and a result."""
    costs = Costs(
        {
            task.name: tuple(
                OperatorCost(device, "emulated", 1, s, "table") for device, s in task.times.items()
            )
            for task in problem.tasks[1:-1]
        },
        {},
    )
    machine = connect(
        [make_device(name, "profile", {"table": "arm-a53x4"}) for name in problem.devices], [], "a"
    )
    return plan_of(Posed(problem, ("in",), "out"), answer, (), costs, machine, Subject("m", "", ""))


def of_problem(problem: Problem, goal: Goal) -> tuple[Schedule | Pipelining, Plan]:
    """A problem's answer, and the plan of that, between an input and a result on the first device."""
    problem = with_ends(problem)
    answer = solve(problem, goal)
    return answer, as_plan(problem, answer)


def linked(seed: int, links: str, **other: Any) -> Problem:
    problem = random_problem(seed, tasks=8, exclusive=0.5 * (links == "exclusive"), **other)
    return on_buses(problem, seed) if links == "buses" else problem


@large(("row", "column", "links"), product(range(10), range(10), ("", "exclusive", "buses")), sample=14)
def test_a_plan_is_as_good_as_its_schedule(row: int, column: int, links: str) -> None:
    """What is called optimal is; and the simulator, which the plan is run by, makes the same of it."""
    answer, plan = of_problem(linked(10 * row + column, links, extras=bool(column % 2)), "latency")
    assert isinstance(answer, Schedule)
    assert not faults(plan)
    assert plan.makespan <= answer.makespan * (1 + 1e-9)
    assert plan.makespan == pytest.approx(simulate(plan).makespan)
    assert not plan.optimal or plan.makespan == pytest.approx(plan.bound)
    assert plan.bound <= plan.makespan
    # Where starts are charged, nobody proved that operators in a row, started once, are no faster.
    proved = answer.optimal and not column % 2
    assert plan.optimal or plan.makespan < answer.makespan or not proved


@large(("row", "column", "links"), product(range(10), range(10), ("", "exclusive", "buses")), sample=14)
def test_no_plan_of_any_placement_is_below_the_bound(row: int, column: int, links: str) -> None:
    """Though operators in a row are started once, and the solver's bound starts each."""
    problem = with_ends(linked(10 * row + column, links, extras=True))
    answer = solve(problem)
    bound = bound_of_plans(problem, answer, ("in", "out"))
    assert bound <= answer.bound
    instance, random = Instance(problem), Random(10 * row + column)
    for _ in range(40):
        placement = [random.choice(instance.domain(task)) for task in range(instance.count)]
        if is_allowed(instance, placement):
            timeline = retime(instance, placement, range(instance.count))
            other = as_plan(problem, timeline.schedule(bound, optimal=False, method=""))
            assert other.makespan >= bound * (1 - 1e-9)


def test_the_bound_allows_for_one_start_of_several_operators() -> None:
    """On b, v and w both read x; started once, they take 1 + 4 + 2 + 2, and 4 s less than started each."""
    tasks = (
        Task("x", ("in",), times={"a": 1.0}),
        Task("v", ("x",), times={"b": 2.0}, invocation={"b": 4.0}),
        Task("w", ("x", "v"), times={"b": 2.0}, invocation={"b": 4.0}),
    )
    plan = planned(tasks, "latency")
    assert (plan.makespan, plan.bound, plan.optimal) == (11.0, 11.0, True)
    assert solve(between_ends(tasks)).bound == 15.0


@large(("row", "column", "links"), product(range(10), range(10), ("", "exclusive", "buses")), sample=10)
@pytest.mark.parametrize("carries", [False, True])
def test_a_stream_has_the_period_of_its_answer(row: int, column: int, links: str, carries: bool) -> None:
    seed = 10 * row + column
    problem = linked(seed, links, extras=bool(column % 2))
    answer, plan = of_problem(with_carries(problem, seed) if carries else problem, "throughput")
    assert isinstance(answer, Pipelining)
    assert not faults(plan)
    assert plan.bound <= plan.period <= answer.period * (1 + 1e-9)
    assert simulate(plan, 40 + 6 * plan.depth).period <= plan.period * (1 + 1e-6)
    assert not plan.optimal or plan.period == pytest.approx(plan.bound)


def test_a_segment_sends_what_another_device_needs_of_it() -> None:
    """Of x, which is large, b needs nothing: z alone crosses, in 1 s."""
    tasks = (
        Task("x", ("in",), 9 * 10**9, {"a": 1.0}),
        Task("z", ("x",), 0, {"a": 1.0}),
        Task("v", ("z",), 0, {"b": 1.0}),
        Task("w", ("x", "v"), 0, {"a": 1.0}),
    )
    plan = planned(tasks, "latency")
    assert not faults(plan)
    assert (plan.makespan, plan.bound, plan.optimal) == (6.0, 6.0, True)
    assert [each.seconds for each in plan.transfers] == [1.0, 1.0]


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_what_is_above_its_bound_is_not_optimal(goal: Goal) -> None:
    tasks = (Task("x", ("in",), times={"a": 2.0}), Task("y", ("x",), times={"a": 1.0}))
    plan = planned(tasks, goal)
    assert plan.optimal
    wrong = replace(plan, bound=0.9 * plan.bound)
    assert any("it is to be optimal" in each for each in faults(wrong))
    with pytest.raises(PlanError, match="above the bound"):
        from_json(to_json(wrong))


@pytest.mark.parametrize("goal", ["latency", "throughput"])
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_state_goes_back_to_the_device_that_needs_it(goal: Goal, exclusive: bool) -> None:
    tasks = (
        Task("cell", ("in",), times={"b": 2.0}, carries=("word",)),
        Task("score", ("cell",), times={"b": 1.0}),
        Task("word", ("score",), times={"a": 3.0}),
    )
    plan = planned(tasks, goal, exclusive=exclusive)
    assert not faults(plan)
    assert ("word", "a", "b") in {(each.operator, each.source, each.target) for each in plan.transfers}
    assert plan.makespan == 1 + 2 + 1 + 1 + 3
    around = 2 + 1 + 1 + 3 + 1  # from the cell to the word and back
    if goal == "throughput":
        assert plan.period == around == pytest.approx(simulate(plan, 40).period)
    else:  # an input begins when all of the one before is where it is needed
        assert around <= simulate(plan, 40).period <= plan.period == around + 1


def test_the_period_is_that_of_the_segments() -> None:
    """The state is there when the cell has ended; what else is on its device may not be in its segment."""
    tasks = (
        Task("cell", ("in",), times={"b": 2.0}, carries=("cell",)),
        Task("score", ("cell",), times={"b": 1.0}),
        Task("word", ("score",), times={"a": 1.0}),
    )
    plan = planned(tasks, "throughput")
    assert not faults(plan)
    assert plan.period == 3.0 == pytest.approx(simulate(plan, 40).period)
