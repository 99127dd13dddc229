"""Turns of operators and of transfers: what the check refuses, and what the executor makes of them."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sparsegen.errors import ExecutionError
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.plan import Plan, Turn
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.hetero.running.buses import Buses
from sparsegen.hetero.running.emulation import Emulated
from sparsegen.hetero.running.executor import Executor
from sparsegen.hetero.running.simulator import simulate
from tests.hetero.plans import operator, plan_of

pytestmark = pytest.mark.usefixtures("no_thread_left")

X, Y, Z = operator("x", "a", 1), operator("y", "b", 1, "x"), operator("z", "a", 1, "y")
PLAN = plan_of([X, Y, Z], depth=4, turns=({"x": 0, "y": 1, "z": 3}, 2))
"""In each round, a runs x of the round's input, and z of the one before."""


ON_BUS = plan_of([X, Y, Z], 1.0, depth=2, buses="b")


def taking(*turns: tuple[str, int], **other: Any) -> Plan:
    return replace(PLAN, turns=tuple(Turn(*each) for each in turns), **other)


WRONG = {
    "none": (taking(("x", 0), ("y", 0)), "operator z has 0 turns: it needs one"),
    "two": (taking(("x", 0), ("y", 0), ("z", 1), ("z", 1)), "operator z has 2 turns: it needs one"),
    "unknown": (taking(("x", 0), ("y", 0), ("z", 1), ("q", 1)), "operator q has 1 turns"),
    "ahead": (taking(("x", 0), ("y", 0), ("z", -1)), "turns[2].behind is -1, which is negative"),
    "another order": (taking(("z", 0), ("x", 0), ("y", 0)), "operator z comes after x, and its turn before"),
    "too few inputs": (
        taking(("x", 0), ("y", 0), ("z", 2), depth=2),
        "wait for each other in a circle, in their turns",
    ),
    "one input": (replace(PLAN, depth=1), "and one input is under way at a time"),
    "transfers": (
        replace(ON_BUS, transfers=ON_BUS.transfers[::-1]),
        "operators and transfers wait for each other in a circle, in their turns",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_turns_that_nobody_could_take_are_refused(case: str) -> None:
    plan, message = WRONG[case]
    found = faults(plan)
    assert any(message in each for each in found), found


def test_turns_are_written_and_read() -> None:
    assert from_json(to_json(PLAN)) == PLAN


def test_devices_take_turns_and_results_keep_their_order() -> None:
    """Streams of any length, and single calls between them: what is behind is done when no input comes."""
    runners = {
        "x": lambda given: given + 1,
        "y": lambda value: 10 * value,
        "z": lambda value: ("z", value),
    }
    with Executor(PLAN, runners, record=True) as executor:
        for count in (0, 1, 2, 3, 9):
            assert list(executor.map(range(count))) == [("z", 10 * (each + 1)) for each in range(count)]
        assert executor(4) == ("z", 50)
        found = executor.timeline()
    on_a = [(each.operator, each.input) for each in found.events if each.device == "a"]
    assert on_a[-4:-2] == [("z", 13), ("z", 14)] or on_a[-2:] == [("x", 15), ("z", 15)]


def test_a_state_goes_on_while_inputs_interleave() -> None:
    operators = [operator("x", "a", 1, carries=("y",)), operator("y", "b", 1, "x"), Z]
    plan = plan_of(operators, depth=4, turns=({"x": 0, "y": 1, "z": 2}, 2))
    runners = {"x": lambda state, given: state + given, "y": lambda value: value, "z": lambda value: value}
    with Executor(plan, runners, initial={"y": 100}) as executor:
        assert list(executor.map([1, 2, 3])) == [101, 103, 106]
        assert executor(4) == 110
        stream = executor.map([5, 6, 7, 8])
        assert next(stream) == 115
        executor.reset()  # those that are under way go on with their state
        assert list(stream) == [121, 128, 136]
        assert executor(1) == 101


def test_the_first_error_comes_with_its_input_and_nobody_waits() -> None:
    def y(value: int) -> int:
        if value == 3:
            raise ValueError("three")
        return value

    runners: dict[str, Any] = {"x": lambda given: given, "y": y, "z": lambda value: value}
    with Executor(PLAN, runners) as executor:
        stream = executor.map(range(8))
        assert [next(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ExecutionError, match="operator y failed on b, for input 3: ValueError: three"):
            next(stream)
        assert list(executor.map([5, 6])) == [5, 6]
        stream = executor.map(iter([7, 8, 9, 9, 9]))
        assert next(stream) == 7
        stream.close()  # type: ignore[attr-defined]
        assert executor(1) == 1


def test_an_emulated_stream_has_the_period_of_its_turns() -> None:
    """With one bus for both ways."""
    plan = plan_of(
        [replace(each, seconds=2.0) for each in (X, Y, Z)], 1.0, depth=8, buses="b", kind="profile",
        turns=({"x": 0, "y": 3, "z": 6}, 4),
    )  # fmt: skip
    scale = 0.01
    runners = {each.name: Emulated(lambda *inputs: inputs, scale * each.seconds) for each in plan.operators}
    with Executor(plan, runners, record=True, transfer_seconds=lambda each: scale * each.seconds) as executor:
        list(executor.map(range(24)))
        found = executor.timeline()
    expected = simulate(plan, 24)
    assert found.period >= scale * expected.period * (1 - 1e-6)
    spans = sorted((e.start, e.end) for e in found.events if e.kind == "transfer")
    assert all(before[1] <= after[0] + 1e-9 for before, after in pairwise(spans))


def test_a_bus_keeps_to_the_turns_whoever_is_first() -> None:
    """The later transfer is ready first, and waits; at a flush, inputs that do not come are left out."""
    plan = plan_of([X, operator("v", "a", 1), operator("w", "b", 1, "xv")], 4.0, buses="b", depth=2)
    buses, told = Buses(plan, range(2)), list[tuple[str, float, float]]()
    lock = threading.Lock()

    def send(number: int, input: int, now: float) -> None:
        def deliver(start: float, end: float) -> None:
            with lock:
                told.append((f"{plan.transfers[number].operator}{input}", start, end))

        buses.send(number, input, now, 4.0, deliver)

    send(1, 0, 1.0)
    assert told == []
    send(0, 0, 2.0)
    assert told == [("x0", 2.0, 6.0), ("v0", 6.0, 10.0)]
    buses.flush(1)
    send(0, 1, 20.0)
    send(1, 1, 20.0)
    assert told[2:] == [("x1", 20.0, 24.0), ("v1", 24.0, 28.0)]
