"""What is shown of plans and timelines: the Chrome trace, the picture, the table."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from sparsegen.hetero.cells import Cell, longest_part
from sparsegen.hetero.plans import gantt
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import PASSED_ON, Group, Plan, PlannedOperator, Stage
from sparsegen.hetero.plans.table import plan_table
from sparsegen.hetero.plans.trace import save_trace, trace_of
from sparsegen.hetero.report import picture_title
from sparsegen.hetero.running.simulator import simulate
from sparsegen.outputs import save_picture
from tests.hetero.plans import operator, plan_of, random_plans, random_stages
from tests.sampling import examples

PLAN = plan_of(
    [operator("net.x.conv", "a", 1), operator("net.y.conv", "b", 2, ["net.x.conv"])],
    1.0,
    depth=2,
    kind="profile",
)


@examples(40)
@given(st.one_of(random_plans(), random_stages()), st.integers(1, 5))
def test_a_trace_is_of_chromes_format(plan: Plan, inputs: int) -> None:
    """As its description has it: each event with its fields, names for all rows, none doing two things."""
    timeline = simulate(plan, inputs)
    trace = json.loads(json.dumps(trace_of(plan, timeline, "toy"), allow_nan=False))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    rows: defaultdict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    named = set()
    for each in trace["traceEvents"]:
        assert isinstance(each["name"], str)
        assert type(each["pid"]) is type(each["tid"]) is int
        if each["ph"] == "M":
            assert each["name"] in ("process_name", "thread_name", "thread_sort_index")
            if each["name"] != "thread_sort_index":
                assert isinstance(each["args"]["name"], str)
            named.add((each["name"], each["pid"], each["tid"]))
            continue
        assert each["ph"] == "X"
        assert each["ts"] >= 0
        assert each["dur"] >= 0
        rows[each["pid"], each["tid"]].append((each["ts"], each["dur"]))
    for (process, thread), events in rows.items():
        assert ("process_name", process, 0) in named
        assert ("thread_name", process, thread) in named
        assert all(ts + dur <= after for (ts, dur), (after, _) in pairwise(sorted(events)))
    assert sum(map(len, rows.values())) == len(timeline.events)


def test_times_of_a_trace_are_microseconds(tmp_path: Path) -> None:
    save_trace(PLAN, simulate(PLAN), tmp_path / "trace.json", "simulated")
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = {each["name"]: each for each in trace["traceEvents"] if each.get("cat") == "operator"}
    assert (events["net.y.conv"]["ts"], events["net.y.conv"]["dur"]) == (2e6, 2e6)
    names = [each["args"]["name"] for each in trace["traceEvents"] if each["name"] == "thread_name"]
    assert names == ["a (emulated)", "a to b", "b (emulated)"]


def test_a_picture_has_rows_bars_and_what_it_comes_to(tmp_path: Path) -> None:
    figure = gantt.draw(PLAN, simulate(PLAN, 8), "toy")
    (axes,) = figure.axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["a (emulated)", "b (emulated)"]
    assert sum(len(each.get_paths()) for each in axes.collections) == 8 * 3
    assert figure.get_suptitle() == "toy\none input: 4 s; 8 inputs: one every 2 s"
    labels = [each.get_text() for each in figure.legends[0].get_texts()]
    assert labels[0] == "input 0"
    assert labels[-2:] == ["input 6, ...", "transfer"]
    save_picture(gantt.draw(PLAN, simulate(PLAN, 2), "toy"), tmp_path / "picture.pdf")
    assert (tmp_path / "picture.pdf").read_bytes().startswith(b"%PDF")


def test_a_title_says_who_was_emulated() -> None:
    assert picture_title(PLAN, "toy", measured=True) == "toy, measured; a, b emulated"
    assert picture_title(PLAN, "toy", measured=False) == "toy, simulated"
    real = replace(PLAN, devices=tuple(replace(each, kind="toy") for each in PLAN.devices))
    assert picture_title(real, "toy", measured=True) == "toy, measured"
    (axes,) = gantt.draw(real, simulate(real), "toy").axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["a", "b"]


def test_groups_of_a_stage_have_rows_of_their_own() -> None:
    operators = [operator("u", "a", 1, utilisation=0.5), operator("v", "a", 2, utilisation=0.5)]
    plan = plan_of(operators, stages=(Stage((Group(("u",), 1), Group(("v",), 1)), 2.0),))
    (axes,) = gantt.draw(plan, simulate(plan), "toy").axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["a, group 1", "a, group 2"]


def test_nothing_can_be_drawn() -> None:
    gantt.draw(PLAN, simulate(PLAN, 0), "toy").canvas.draw()


def lines(plan: Plan, measured: Timeline | None = None, **options: Any) -> list[list[str]]:
    """Cells of the table's lines."""
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(plan_table(plan, measured, **options))
    return [line.split() for line in console.export_text().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("measured", [False, True])
def test_headings_and_names_are_whole_at_any_width(width: int, measured: bool) -> None:
    long = "features.init_block.conv.conv..features.stage4.unit1.body.conv2.conv"
    others = {"implementation": "emulated", "layers": tuple("abc"), "reads": ("head",)}
    operators = [operator("head", "a", 1, layers=("h",)), operator(long, "an_accelerator", 2, **others)]
    plan = plan_of(operators, 1.0)
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(plan_table(plan, simulate(plan, 2) if measured else None))
    shown = console.export_text()
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert all(len(line) <= width for line in shown.splitlines())
    heading = next(line for line in shown.splitlines() if "operator" in line).split()
    assert heading == ["operator", "layers", "device", "by", "ms", *(["ms"] if measured else [])]
    assert ("predicted" in shown, "measured" in shown) == (True, measured)
    columns = [line[: heading_end(shown)].strip() for line in shown.splitlines()[3:]]
    assert long in "".join(columns)
    assert "an_accelerator" in shown
    assert "emulated (table)" in shown


@pytest.mark.parametrize("width", [20, 26, 40, 90])
def test_names_are_not_cut_within_their_parts(width: int) -> None:
    name = "features.stage4.unit1.body.conv1.conv..stage_10.é中.mean"
    table = Table("operator", "ms")
    table.add_row(Cell(name), "1.00")
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    cells = [line.split("│")[1] for line in console.export_text().splitlines() if line.startswith("│")]
    lines = [each.strip() for each in cells]
    assert "".join(lines) == name
    assert all(each.endswith((".", "_")) for each in lines[:-1])


def test_words_and_parts_that_are_too_long() -> None:
    assert longest_part("layer features.stage4: two words") == len("features.")
    console = Console(width=8, file=io.StringIO(), record=True)
    console.print(Cell("a word conv_transposed2d"))
    assert console.export_text() == "a word\nconv_\ntranspos\ned2d\n"


def heading_end(shown: str) -> int:
    """Where the first column ends."""
    return next(line for line in shown.splitlines() if "operator" in line).index("layers")


def test_a_trace_names_a_device_once_and_groups_by_number() -> None:
    passing = {"implementation": PASSED_ON}
    stream = plan_of(
        [
            operator("x", "a", 1, **passing),
            operator("y", "a", 2, "x"),
            operator("z", "b", 1, "y"),
            operator("result", "a", 1, ["z"], **passing),
        ],
        depth=4,
        kind="profile",
    )
    assert threads(stream, 6) == [
        "a (emulated): inputs and results",
        "a (emulated)",
        "a to b",
        "b (emulated)",
        "b to a",
    ]
    operators = [operator("u", "a", 1, utilisation=0.5), operator("v", "a", 2, utilisation=0.5)]
    staged = plan_of(operators, stages=(Stage((Group(("u",), 1), Group(("v",), 1)), 2.0),))
    assert threads(staged, 1) == ["a (toy), group 1", "a (toy), group 2"]


def threads(plan: Plan, inputs: int) -> list[str]:
    def takes(each: PlannedOperator, device: str, input: int) -> float:
        return 0.0 if each.implementation == PASSED_ON else each.seconds

    events = trace_of(plan, simulate(plan, inputs, operator_seconds=takes), "toy")["traceEvents"]
    return [each["args"]["name"] for each in events if each["name"] == "thread_name"]


def test_a_table_has_predicted_and_measured_times() -> None:
    slower = simulate(PLAN, 20, operator_seconds=lambda each, device, input: 1.5 * each.seconds)
    shown = lines(PLAN, slower)
    assert shown[3] == ["x", "a", "emulated", "(table)", "1000", "1500"]
    assert shown[4] == ["y", "b", "emulated", "(table)", "2000", "3000"]
    assert ["1", "transfers", "1000", "1000"] in shown
    assert ["one", "input", "4000", "5500"] in shown
    assert ["a", "result", "every", "2000", "3000"] in shown
    assert ["one", "input", "4000"] in lines(PLAN)


def test_a_long_plan_shows_the_longest_and_the_rest_together() -> None:
    plan = plan_of([operator(f"o{n}", "a", 1 + n % 7) for n in range(30)])
    shown = lines(plan, most=4)
    assert [line[0] for line in shown if line[0].startswith("o")][1:] == ["o6", "o13", "o20", "o27", "one"]
    assert ["26", "shorter", "ones", "a", str(1000 * int(plan.makespan - 28))] in shown
    named = lines(replace(plan, goal="latency", depth=1))
    assert sum(line[0].startswith("o") and line[0][1:].isdigit() for line in named) == 30
    assert not any("every" in line for line in named)
