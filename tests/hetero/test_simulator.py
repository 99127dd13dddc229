"""The simulator: closed forms, a tick-by-tick oracle, and what holds for any plan."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.plan import PASSED_ON, Group, Plan, Stage
from sparsegen.hetero.running.simulator import Assumptions, simulate
from tests.hetero.plans import operator, plan_of, random_plans, random_stages
from tests.hetero.ticks import ticks
from tests.sampling import examples

LONG = 60


def chain(*seconds: float, crossing: float = 0.0, **other: object) -> Plan:
    """Operators x0, x1, ... one after the other, each on a device of its own."""
    names = [f"x{number}" for number in range(len(seconds))]
    operators = [
        operator(name, "abcdef"[n], seconds[n], names[n - 1 : n] if n else ()) for n, name in enumerate(names)
    ]
    return plan_of(operators, crossing, **other)  # type: ignore[arg-type]


def test_a_chain_takes_the_sum_and_its_pipeline_the_longest() -> None:
    found = simulate(chain(2, 5, 3, crossing=1, depth=8), LONG)
    assert found.makespan == 2 + 1 + 5 + 1 + 3
    assert found.period == 5
    assert len(found.events) == LONG * (3 + 2)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pipeline_of_few_inputs_takes_its_makespan_for_so_many(depth: int) -> None:
    found = simulate(chain(4, 4, 4, crossing=1, depth=depth), LONG)
    assert found.period == max(4, 14 / depth)
    assert found.latency == 14


def test_a_recurrence_bounds_the_period() -> None:
    """An operator's state comes back over two links: 2 + 1 + 3 + 1, though no device works more than 3."""
    operators = [operator("x", "a", 2, carries=("y",)), operator("y", "b", 3, "x")]
    plan = plan_of(operators, 1.0, depth=8)
    assert simulate(plan, LONG).period == 7
    assert simulate(plan, LONG, assumptions=Assumptions(recurrences=False)).period == 3


@pytest.mark.parametrize(("depth", "period"), [(1, 9), (8, 4)])
def test_the_next_input_does_not_wait_for_a_result_of_another_device(depth: int, period: int) -> None:
    ends = {"implementation": PASSED_ON, "utilisation": 0.0}
    operators = [operator("in", "a", 1, (), **ends), operator("x", "a", 3, ["in"])]
    operators += [operator("y", "b", 4, ["x"]), operator("out", "a", 1, ["y"], **ends)]
    assert simulate(plan_of(operators, depth=depth), LONG).period == period


def test_copies_share_the_inputs() -> None:
    plan = plan_of([operator("x", "a", 6)], depth=3, replicas=({}, {"a": "b"}, {"a": "c"}))
    found = simulate(plan, LONG)
    assert (found.makespan, found.period, found.latency) == (6, 2, 6)
    assert [each.device for each in found.events if each.input < 4] == ["a", "b", "c", "a"]


def test_an_exclusive_link_takes_turns() -> None:
    """Two results of 4 s each over one link, for readers of 1 s."""
    operators = [operator("x", "a", 1), operator("y", "a", 1), operator("z", "b", 1, "xy")]
    shared, alone = plan_of(operators, 4.0), plan_of(operators, 4.0, exclusive=True)
    assert simulate(shared).makespan == 2 + 4 + 1
    assert simulate(alone).makespan == 1 + 4 + 4 + 1
    assert simulate(shared, assumptions=Assumptions(exclusive_links=True)).makespan == 10
    assert simulate(alone, assumptions=Assumptions(exclusive_links=False)).makespan == 7


@pytest.mark.parametrize("buses", ["b", "abc"])
def test_a_bus_takes_turns_whichever_way(buses: str) -> None:
    """The result of x goes to b; y, which read it, to c, and v to a, over the same bus."""
    operators = [operator("x", "a", 1), operator("v", "b", 1), operator("y", "b", 1, "x")]
    operators += [operator("w", "a", 1, "v"), operator("z", "c", 1, "y")]
    plan = plan_of(operators, 2.0, buses=buses, depth=1)
    assert faults(plan) == []
    assert simulate(plan, assumptions=Assumptions(exclusive_links=False)).makespan == 1 + 2 + 1 + 2 + 1
    found = simulate(plan)
    assert found.makespan == plan.makespan == 1 + 2 + 2 + 2 + 1
    on_bus = sorted((each.start, each.end) for each in found.events if each.kind == "transfer")
    assert on_bus == [(1, 3), (3, 5), (5, 7)]


def test_a_device_runs_inputs_in_turn() -> None:
    """Device a runs x of an input while b has y, and then z of the one before: in 2 s, and not in 3."""
    operators = [operator("x", "a", 1), operator("y", "b", 1, "x"), operator("z", "a", 1, "y")]
    assert simulate(plan_of(operators, depth=4), LONG).period == 3
    plan = plan_of(operators, depth=4, turns=({"x": 0, "y": 1, "z": 3}, 2))
    assert {turn.operator: turn.behind for turn in plan.turns} == {"x": 0, "y": 0, "z": 1}
    assert faults(plan) == []
    found = simulate(plan, LONG)
    assert (found.period, simulate(plan).makespan) == (2, 3)
    on_a = [(e.operator, e.input) for e in found.events if e.device == "a" and e.kind == "operator"]
    assert on_a[:6] == [("x", 0), ("x", 1), ("z", 0), ("x", 2), ("z", 1), ("x", 3)]
    assert on_a[-2:] == [("z", LONG - 2), ("z", LONG - 1)]


def test_transfers_may_take_their_device() -> None:
    plan = chain(2, 1, crossing=3, depth=8)
    assert simulate(plan, LONG).period == 2
    assert simulate(plan, LONG, assumptions=Assumptions(overlap=False)).period == 5


def test_operators_at_once_slow_down_beyond_the_capacity() -> None:
    """Both ask for 0.75: two thirds of the speed, until the shorter has ended."""
    operators = [operator("x", "a", 2, utilisation=0.75), operator("y", "a", 4, utilisation=0.75)]
    stage = Stage((Group(("x",), 1), Group(("y",), 1)), 4.0)
    plan = plan_of(operators, stages=(stage,))
    contended = simulate(plan)
    assert contended.operator_seconds() == pytest.approx({"x": 3, "y": 5})
    assert simulate(plan, assumptions=Assumptions(contention=False)).makespan == 4


def test_a_full_queue_holds_the_faster_back() -> None:
    plan = chain(1, 10, depth=20, queue=2)

    def ahead(assumptions: Assumptions) -> int:
        events = simulate(plan, 15, assumptions=assumptions).events
        starts = {(e.operator, e.input): e.start for e in events if e.kind == "operator"}
        return sum(starts["x0", i] < starts["x1", 2] for i in range(15))

    assert ahead(Assumptions()) == 2 + 2 + 1  # begun by x1, waiting, and one that is held
    assert ahead(Assumptions(bounded=False)) == 15


def test_the_depth_may_be_another() -> None:
    assert simulate(chain(4, 4, depth=1), LONG, assumptions=Assumptions(depth=2)).period == 4


def test_times_may_be_others() -> None:
    plan = chain(1, 1, crossing=1)
    found = simulate(
        plan,
        2,
        operator_seconds=lambda each, device, input: 2 * each.seconds + input + (device == "b"),
        transfer_seconds=lambda each, input: 5,
    )
    assert found.makespan == 2 + 5 + 3
    assert [each.seconds for each in found.events if each.operator == "x1"] == [3, 4]


def test_no_input_takes_no_time() -> None:
    found = simulate(chain(1), 0)
    assert (found.makespan, found.period, found.latency, found.events) == (0, 0, 0, ())


@examples(40, soak=3000)
@given(st.one_of(random_plans(), random_stages()), st.integers(1, 7))
def test_every_event_is_that_of_the_ticks(plan: Plan, inputs: int) -> None:
    found, expected = simulate(plan, inputs), ticks(plan, inputs)
    operators = [each for each in found.events if each.kind == "operator"]
    assert {(e.operator, e.input): e.start for e in operators} == expected.started
    assert {(e.operator, e.input): e.end for e in operators} == expected.ended
    assert list(found.finished) == expected.finished
    mapped = [
        {**each, **{d.name: d.name for d in plan.devices if d.name not in each}} for each in plan.replicas
    ]
    sent = {
        (name, mapped[input % len(mapped)][target], input): start
        for (name, target, input), start in expected.sent.items()
    }
    transfers = [each for each in found.events if each.kind == "transfer"]
    assert {(e.operator, e.target, e.input): e.start for e in transfers} == sent


@examples(60)
@given(random_plans())
def test_the_period_is_at_least_each_load_and_recurrence(plan: Plan) -> None:
    """The plan's own period is measured, over whole rhythms: the checker knows the bounds by itself."""
    found = simulate(plan, max(LONG, 6 * plan.depth))
    assert faults(replace(plan, period=found.period, makespan=simulate(plan).makespan)) == []
    busy: defaultdict[str, float] = defaultdict(float)
    for each in found.events:
        if each.kind == "operator":
            busy[each.device] += each.seconds
    assert found.finished[-1] >= max(busy.values())


@examples(60)
@given(random_plans(), st.integers(0, 5), st.integers(1, 4))
def test_more_time_and_less_room_end_nothing_earlier(plan: Plan, which: int, more: int) -> None:
    """Which holds as operators and transfers take turns in a fixed order."""
    slow = plan.operators[which % len(plan.operators)].name
    found = simulate(plan, 8)
    slower = simulate(
        plan, 8, operator_seconds=lambda o, _, input: o.seconds + (more if o.name == slow else 0)
    )
    roomier = simulate(replace(plan, queue=plan.queue + 1, depth=plan.depth + 1), 8)
    assert all(a <= b for a, b in zip(found.finished, slower.finished, strict=True))
    assert all(a >= b for a, b in zip(found.finished, roomier.finished, strict=True))


@examples(40)
@given(random_plans())
def test_no_lane_does_two_things_at_once(plan: Plan) -> None:
    for assumptions in (Assumptions(), Assumptions(overlap=False), Assumptions(exclusive_links=True)):
        lanes = defaultdict(list)
        for each in simulate(plan, 6, assumptions=assumptions).events:
            if each.kind == "operator":
                lanes[each.device, each.lane].append(each)
            elif assumptions.exclusive_links:
                lanes[each.device, each.target].append(each)
        for events in lanes.values():
            ordered = sorted(events, key=lambda each: (each.start, each.end))
            assert all(first.end <= second.start for first, second in pairwise(ordered))
