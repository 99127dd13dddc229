"""Plans of a solver's answers: what passes from one input to the next has its way and its time in them."""

from __future__ import annotations

import pytest

from sparsegen.devices import connect, make_device
from sparsegen.hetero import solve
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.export import OperatorCost
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.placing import Subject, plan_of
from sparsegen.hetero.plans.plan import Goal, Plan
from sparsegen.hetero.plans.posing import Posed
from sparsegen.hetero.problem.problem import Link, Problem, Task
from sparsegen.hetero.running.simulator import simulate

MACHINE = connect([make_device(name, "profile", {"table": "arm-a53x4"}) for name in "ab"], [], "a")


def planned(tasks: tuple[Task, ...], goal: Goal, *, exclusive: bool = False) -> Plan:
    """The plan of tasks between an input and a result, on devices a and b with links of 1 s."""
    links = tuple(Link(*way, 1.0, 1e9, exclusive) for way in (("a", "b"), ("b", "a")))
    whole = (Task("in", times={"a": 0.0}), *tasks, Task("out", (tasks[-1].name,), times={"a": 0.0}))
    problem = Problem(("a", "b"), whole, links)
    costs = Costs(
        {
            task.name: tuple(
                OperatorCost(device, "emulated", 1, s, "table") for device, s in task.times.items()
            )
            for task in tasks
        },
        {},
    )
    answer = solve(problem, goal)
    return plan_of(Posed(problem, ("in",), "out"), answer, (), costs, MACHINE, Subject("m", "", ""))


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
