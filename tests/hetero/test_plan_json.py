"""Plans written down and read back; what is no such plan is refused by the name of its field."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.errors import FileError, PlanError
from sparsegen.hetero.plans.plan import Plan
from sparsegen.hetero.plans.plan_json import from_json, load_plan, save_plan, to_json
from tests.hetero.plans import operator, plan_of, random_plans, random_stages
from tests.sampling import examples

PLAN = replace(
    plan_of([operator("x", "a", 1), operator("y", "b", 2, "x", carries=("y",))], 1.0, depth=2),
    alternatives={"a alone": 3.0},
)


@examples(60)
@given(st.one_of(random_plans(), random_stages()))
def test_plans_come_back(plan: Plan) -> None:
    assert from_json(json.loads(json.dumps(to_json(plan)))) == plan


def test_a_file_comes_back(tmp_path: Path) -> None:
    save_plan(PLAN, tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json") == PLAN
    with pytest.raises(FileError):
        save_plan(PLAN, tmp_path / "nowhere" / "plan.json")


def at(*path: str | int, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for each in path[:-1]:
            found = found[each]
        found[path[-1]] = value

    return change


def without(*path: str | int) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for each in path[:-1]:
            found = found[each]
        del found[path[-1]]

    return change


WRONG: dict[str, tuple[Callable[[Any], None], str]] = {
    "no schema": (without("schema"), "has schema None; this version reads 1"),
    "another schema": (at("schema", value=2), "has schema 2"),
    "true": (at("schema", value=True), "has schema True"),
    "missing": (without("operators", 1, "seconds"), r"operators[1].seconds is missing"),
    "unknown": (
        at("operators", 0, "colour", value="red"),
        r"operators[0].colour is no field: there are name",
    ),
    "a text for a number": (
        at("operators", 0, "seconds", value="1"),
        r'operators[0].seconds is "1", where a number is expected',
    ),
    "true for a number": (at("makespan", value=True), "makespan is true, where a number is expected"),
    "a fraction": (at("depth", value=2.0), "depth is 2.0, where a whole number is expected"),
    "too large": (at("makespan", value=10**400), "where a finite number is expected"),
    "no list": (at("operators", value={}), "operators is {}, where a list is expected"),
    "no object": (at("transfers", 0, value=[]), "transfers[0] is [], where an object is expected"),
    "no text": (
        at("operators", 1, "reads", 0, value=7),
        "operators[1].reads[0] is 7, where a text is expected",
    ),
    "no form": (at("form", value="fast"), 'form is "fast", where one of sequential, placed, '),
    "in a mapping": (
        at("alternatives", "a alone", value=None),
        "alternatives.a alone is null, where a number is expected",
    ),
    "unsound": (without("transfers", 0), "is unsound: the result of x is needed on b"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_plan_is_refused(case: str, tmp_path: Path) -> None:
    change, message = WRONG[case]
    found = json.loads(json.dumps(to_json(PLAN)))
    change(found)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(found))
    with pytest.raises(PlanError) as raised:
        load_plan(path)
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no plan: Expecting value"),
        (b"[1, 2", "is no plan"),
        (b"\xff\xfe\xfd", "it is no text in UTF-8"),
        (b"[]", "has schema None"),
        (b'{"schema": 1, "schema": 1}', "'schema' is there twice"),
        (b'{"schema": 1, "makespan": NaN}', "NaN is no number of JSON"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=message):
        load_plan(path)


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        load_plan(tmp_path / "plan.json")
