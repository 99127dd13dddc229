"""Problems as files: what is written is read again, and what is not sound is told in one clear message."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.errors import OptionError, ProblemError
from sparsegen.hetero import solve
from sparsegen.hetero.problem.answer_json import answer_record
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task
from sparsegen.hetero.problem.problem_json import parse_problem, problem_record, read_problem
from tests.hetero.problems import random_problem
from tests.sampling import examples

SOUND: dict[str, Any] = {
    "schema": 1,
    "devices": ["a", "b"],
    "operators": [
        {"name": "x", "reads": ["w"], "bytes": 4096, "times": {"a": 0.001, "b": 0.002}},
        {"name": "w", "times": {"a": 0.003}, "bytes": 0},
    ],
    "links": [{"from": "a", "to": "b", "latency": 1e-5, "bandwidth": 1e9}],
}


def changed(change: Callable[[Any], object]) -> dict[str, Any]:
    content = copy.deepcopy(SOUND)
    change(content)
    return content


def first(**values: Any) -> Callable[[Any], object]:
    return lambda content: content["operators"][0].update(values)


def link(**values: Any) -> Callable[[Any], object]:
    return lambda content: content["links"][0].update(values)


def store(**values: Any) -> Callable[[Any], object]:
    return lambda content: content.update(stores={"a": values})


BAD: dict[str, tuple[Callable[[Any], object], str]] = {
    "no schema": (lambda content: content.pop("schema"), "has no 'schema'"),
    "a schema to come": (lambda content: content.update(schema=2), "this version reads schema 1"),
    "a schema that is true": (lambda content: content.update(schema=True), "has schema True"),
    "an unknown key": (lambda content: content.update(device=[]), "unknown key 'device'"),
    "an operator's unknown key": (first(time={}), "operator 1 has the unknown key 'time'"),
    "a link's unknown key": (link(bw=1), "link 1 has the unknown key 'bw'"),
    "a store's unknown key": (store(ram=1), "store 'a' has the unknown key 'ram'"),
    "no devices": (lambda content: content.update(devices=[]), "has no devices"),
    "devices that are no list": (lambda content: content.update(devices="ab"), "a list is needed"),
    "a device twice": (lambda content: content.update(devices=["a", "a"]), "the device 'a' twice"),
    "a device that is a number": (lambda content: content.update(devices=[1]), "a name in quotes"),
    "a device without a name": (lambda content: content.update(devices=[""]), "an empty name"),
    "no operators": (lambda content: content.update(operators=[]), "has no operators"),
    "an operator that is none": (lambda content: content.update(operators=[3]), "an object is needed"),
    "an operator without a name": (lambda content: content["operators"][0].pop("name"), "has no 'name'"),
    "an operator twice": (first(name="w", reads=[]), "the operator 'w' twice"),
    "an unknown operator": (first(reads=["v"]), "operator 'x': reads names the unknown operator 'v'"),
    "an operator read twice": (first(reads=["w", "w"]), "the operator in reads 'w' twice"),
    "an unknown one carried": (first(carries=["v"]), "carries names the unknown operator 'v'"),
    "a cycle": (lambda content: content["operators"][1].update(reads=["x"]), "in a cycle, "),
    "its own reader": (first(reads=["x"]), "in a cycle, x -> x"),
    "a time on an unknown device": (first(times={"c": 1}), "times names the unknown device 'c'"),
    "no time at all": (first(times={}), "'x' has no device that can run it"),
    "a negative time": (first(times={"a": -1}), "times on 'a' is -1"),
    "a time that is no number": (first(times={"a": math.nan}), "times on 'a' is nan"),
    "an infinite time": (first(times={"a": math.inf}), "times on 'a' is inf"),
    "a time without end": (first(times={"a": 10**400}), "times on 'a' is too large"),
    "a time that is true": (first(times={"a": True}), "times on 'a' is True: a number is needed"),
    "a time in quotes": (first(times={"a": "1"}), "times on 'a' is '1': a number is needed"),
    "a time that is null": (first(times={"a": None}), "times on 'a' is None: a number is needed"),
    "negative bytes": (first(bytes=-1), "bytes is -1"),
    "half a byte": (first(bytes=0.5), "bytes is 0.5: a whole number"),
    "negative weights": (first(weights=-1), "weights is -1"),
    "an invocation elsewhere": (first(invocation={"c": 1}), "invocation names the unknown device 'c'"),
    "a group without quotes": (first(group=1), "a name in quotes"),
    "a group without a device": (
        lambda content: (
            first(group="g", times={"b": 1})(content),
            content["operators"][1].update(group="g"),
        ),
        "no device can run, and has the memory for, all of the group 'g' ('w', 'x')",
    ),
    "a link to nowhere": (link(to="c"), "names the unknown device 'c'"),
    "a link to itself": (link(to="a"), "leads from a device to itself"),
    "a link twice": (lambda content: content["links"].append(content["links"][0]), "is there twice"),
    "no bandwidth": (link(bandwidth=0), "bandwidth is 0"),
    "a negative latency": (link(latency=-1e-3), "latency is -0.001"),
    "a bus without a name": (link(bus=""), "bus has an empty name"),
    "a bus that is a number": (link(bus=[1]), "bus has 1: a name in quotes is needed"),
    "a bus twice": (link(bus=["usb", "usb"]), "has the bus 'usb' twice"),
    "a latency of 300 digits": (
        link(latency=10**300),
        "latency is too large: a finite number from 0 to 1e+18",
    ),
    "a latency of 1e300": (link(latency=1e300), "latency is 1e+300: a finite number from 0 to 1e+18"),
    "a bandwidth next to nothing": (link(bandwidth=1e-300), "bandwidth is 1e-300: 0, or 1e-18 bytes a sec"),
    "exclusive in words": (link(exclusive="yes"), "exclusive is 'yes': give true or false"),
    "a store of no device": (lambda content: content.update(stores={"c": {}}), "unknown device 'c'"),
    "negative memory": (store(memory=-1), "memory is -1"),
    "a cache without a stream": (store(cache=10), "has a cache, but stream is 0"),
    "too little memory": (
        lambda content: (first(weights=9, times={"a": 1})(content), store(memory=8)(content)),
        "more than the memory of any device",
    ),
    "a missing link": (
        lambda content: (first(times={"b": 1})(content), content.update(links=[])),
        "operator 'x' reads 'w', and no link leads from a, where that can run, to b",
    ),
    "a link the other way": (
        lambda content: (first(times={"b": 1})(content), link(**{"from": "b", "to": "a"})(content)),
        "no link leads from a, where that can run, to b",
    ),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_what_is_not_sound_is_told(kind: str, goal: Any) -> None:
    change, message = BAD[kind]
    with pytest.raises(ProblemError) as error:
        solve(changed(change), goal)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\ud800", "is not JSON"),
        ("[]", "an object is needed"),
        ('{"schema": 1, "schema": 1}', "the key 'schema' twice"),
        ('{"schema": 1, "devices": ["a"], "operators": [{"name": "x", "times": {"a": NaN}}]}', "is nan"),
    ],
    ids=["empty", "cut short", "deep", "not UTF-8", "a list", "a key twice", "NaN"],
)
def test_a_file_that_is_no_problem(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ProblemError, match=r"problem\.json") as error:
        read_problem(path)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="cannot read"):
        read_problem(tmp_path / name)


def test_memories_that_are_too_small_together() -> None:
    tasks = tuple(Task(f"t{n}", (), 0, {"a": 1.0, "b": 1.0}, weights=6) for n in range(3))
    problem = Problem(("a", "b"), tasks, (), {"a": Store(memory=10), "b": Store(memory=10)})
    for goal in ("latency", "throughput"):
        with pytest.raises(ProblemError, match="there is no placement of the operators that keeps to"):
            solve(problem, goal)


def test_links_that_rule_each_other_out() -> None:
    # x and y are each reached from one device, which differ, and w has to be on both
    tasks = (
        Task("w", (), 0, {"a": 1.0, "b": 1.0}),
        Task("x", ("w",), 0, {"c": 1.0}),
        Task("y", ("w",), 0, {"d": 1.0}),
    )
    problem = Problem(("a", "b", "c", "d"), tasks, (Link("a", "c", 0, 1e9), Link("b", "d", 0, 1e9)))
    with pytest.raises(ProblemError, match="no link leads from a, where that can run, to d"):
        solve(problem)


@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_limits_are_above_zero(limit: float) -> None:
    with pytest.raises(OptionError, match="limit_seconds"):
        solve(SOUND, limit_seconds=limit)


def test_a_goal_that_is_none() -> None:
    with pytest.raises(OptionError, match="choose of latency, throughput"):
        solve(SOUND, "power")  # type: ignore[call-overload]


@examples(30)
@given(st.builds(random_problem, st.integers(0, 10**6), exclusive=st.just(0.3), extras=st.booleans()))
def test_what_is_written_is_read_again(problem: Problem) -> None:
    assert parse_problem(json.loads(json.dumps(problem_record(problem)))) == problem


def test_operators_come_in_any_order_and_the_answer_is_plain() -> None:
    found = solve(SOUND)
    record = json.loads(json.dumps(answer_record(found)))
    assert record == {
        "makespan": 0.004,
        "bound": 0.004,
        "optimal": True,
        "method": "chain",
        "operators": [
            {"name": "w", "device": "a", "start": 0.0, "end": 0.003},
            {"name": "x", "device": "a", "start": 0.003, "end": 0.004},
        ],
        "transfers": [],
    }


def test_a_result_without_bytes_costs_the_latency() -> None:
    found = solve(changed(lambda content: content["operators"][0].update(times={"b": 0.002})))
    (transfer,) = answer_record(found)["transfers"]
    assert transfer == {"operator": "w", "from": "a", "to": "b", "start": 0.003, "end": 0.003 + 1e-5}
    assert found.makespan == pytest.approx(0.005 + 1e-5)


HALF = "\ud800"


@pytest.mark.parametrize(
    "change",
    [
        first(name=HALF),
        first(group=HALF),
        first(reads=[HALF]),
        link(to=HALF),
        lambda content: content["devices"].append(HALF),
    ],
)
def test_names_are_unicode(change: Callable[[Any], object], tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(changed(change)))
    with pytest.raises(ProblemError, match=r"'\\ud800': text in Unicode, not half a surrogate pair, is") as e:
        solve(path)
    str(e.value).encode()
    with pytest.raises(ProblemError, match=r"the device '\\ud800': text in Unicode"):
        solve(Problem((HALF,), (Task("x", times={HALF: 1.0}),)))
