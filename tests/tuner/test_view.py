"""The live view of a tuning run: a table on a terminal, lines in a log."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from sparsegen.tuner import view
from sparsegen.tuner.view import Progress, TaskProgress, live, overall, print_summary, progress_table

FIRST = TaskProgress("features.layer1.0.conv1", 3, 40, 2, 4.0, 2.0)
SECOND = TaskProgress("features.layer1.0.conv2", 1, 30, 0, 3.0, 3.0, stopped="no gain in 128 trials")
THIRD = TaskProgress("features.layer2.0.conv1", 1, 0, 0, None, None)
PROGRESS = Progress(
    tasks=(FIRST, SECOND, THIRD),
    current=FIRST.name,
    trials=70,
    budget="700 trials",
    share_done=0.1,
    seconds_left=2460.0,
    per_minute=92.4,
    failures=2,
    rank_correlation=0.834,
)


class Clock:
    """Stands in for `monotonic`; time goes on where the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(view, "monotonic", clock)
    return clock


def console(*, terminal: bool = False, width: int = 100, height: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, height=height)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rendered(what: RenderableType, *, width: int = 100) -> str:
    log = console(width=width)
    log.print(what)
    return written(log)


def many(count: int) -> Progress:
    """A run of `count` tasks, of which the tenth is being tuned."""
    tasks = tuple(replace(FIRST, name=f"layer{index}.conv") for index in range(count))
    return replace(PROGRESS, tasks=tasks, current="layer9.conv")


def improved(best_ms: float) -> Progress:
    """The run after the first task has come to `best_ms`."""
    return replace(PROGRESS, tasks=(replace(FIRST, best_ms=best_ms), SECOND, THIRD))


@pytest.mark.parametrize("width", [80, 140])
def test_a_row_a_task_and_one_in_all(width: int) -> None:
    rows = [line.split() for line in rendered(progress_table(PROGRESS), width=width).splitlines()]
    assert ["layer1.0.conv1", "3", "40", "2", "4.00", "2.00", "2.00x", "<", "tuning"] in rows
    assert ["layer1.0.conv2", "1", "30", "0", "3.00", "3.00", "1.00x"] in [row[:7] for row in rows]
    assert ["layer2.0.conv1", "1", "0", "0"] in rows
    assert ["total", "4/5", "70", "2", "15.0", "9.00", "1.67x"] in rows


def test_the_figures_of_the_run() -> None:
    text = rendered(progress_table(replace(PROGRESS, note="racing the best four")), width=140)
    assert (
        "70 trials, 10% of 700 trials, 92 candidates a minute, 2 failures, 41 min left\n"
        "1.67x together and 1.68x in geometric mean over the default, cost model's rank correlation 0.83\n"
        "racing the best four\n"
    ) in text


def test_a_run_that_has_just_begun() -> None:
    tasks = tuple(replace(THIRD, name=name) for name in ("a", "b"))
    begun = replace(
        PROGRESS, tasks=tasks, current="", trials=0, failures=0, seconds_left=None, rank_correlation=None
    )
    text = rendered(progress_table(begun))
    assert "tuning" not in text
    assert text.endswith("0 trials, 10% of 700 trials, 92 candidates a minute, 0 failures\n")
    assert overall(tasks) is None
    assert view.summary_line(begun) == "nothing was gained: no layer has been measured (0 trials, 0 failures)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (40, "40 s"),
        (59.7, "1 min"),
        (2460, "41 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_time_left(seconds: float, words: str) -> None:
    assert f", {words} left" in rendered(progress_table(replace(PROGRESS, seconds_left=seconds)))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(0.01, 99), st.floats(0.01, 99)), min_size=1, max_size=9)
)
def test_gains_count_every_layer_once(rows: list[tuple[int, float, float]]) -> None:
    tasks = [TaskProgress(str(i), layers, 1, 0, *times) for i, (layers, *times) in enumerate(rows)]
    alone = [replace(task, layers=1) for task in tasks for _ in range(task.layers)]
    total, same = overall(tasks), overall(alone)
    assert total is not None
    assert same is not None
    assert total.layers == same.layers == total.of
    for name in ("default_ms", "best_ms", "gain", "geomean_gain"):
        assert math.isclose(getattr(total, name), getattr(same, name))


@pytest.mark.parametrize(("rows", "first", "last"), [(4, 7, 10), (1, 9, 9), (12, 3, 14), (40, 0, 29)])
def test_a_window_around_the_current_task(rows: int, first: int, last: int) -> None:
    text = rendered(progress_table(many(30), rows=rows))
    assert re.findall(r"layer\d+", text) == [f"layer{index}" for index in range(first, last + 1)]
    assert ("and 26 more" in text) is (rows == 4)


def test_a_terminal_is_redrawn_at_most_every_half_second(clock: Clock) -> None:
    terminal = console(terminal=True)
    with live(terminal) as tell:
        tell(PROGRESS)
        drawn = len(written(terminal))
        clock.seconds = 0.4
        tell(improved(1.95))
        assert len(written(terminal)) == drawn
        clock.seconds = 0.6
        tell(improved(1.8))
        assert "1.80" in written(terminal)[drawn:]
        tell(improved(1.7))
    assert "1.95" not in written(terminal)
    assert "1.70" in written(terminal), "the last state stays"


@pytest.mark.usefixtures("clock")
def test_a_low_terminal_shows_part_and_leaves_all() -> None:
    terminal = console(terminal=True, height=16)
    with live(terminal) as tell:
        tell(many(30))
        first = written(terminal)
        assert first.count("\n") < 16
        assert "min left" in first
        assert "< tuning" in first
        assert "layer29" not in first
    assert "layer29" in written(terminal)


def test_a_view_that_was_told_nothing_shows_nothing() -> None:
    log = console()
    with live(log):
        pass
    assert written(log) == ""


def test_a_log_has_a_line_now_and_then(clock: Clock) -> None:
    log = console()
    with live(log) as tell:
        for clock.seconds in (0.0, 10.0, 29.0, 31.0, 50.0, 61.5):
            tell(PROGRESS)
    lines = written(log).splitlines()
    assert len(lines) == 3
    time, rest = lines[0].split("  ")
    assert len(time.split(":")) == 3
    assert rest == "70 trials, 92/min, layer1.0.conv1 2.00 ms (2.00x), 2 failures, 41 min left"
    assert "\x1b" not in written(log)


def test_a_log_has_a_line_for_a_new_best(clock: Clock) -> None:
    log = console()
    with live(log) as tell:
        for clock.seconds, best in enumerate((2.0, 1.99, 1.9, 1.89, 1.88)):
            tell(replace(improved(best), current=SECOND.name))
    told = [line.split(", ")[2] for line in written(log).splitlines()]
    assert told == [
        "layer1.0.conv2 3.00 ms (1.00x)",
        "layer1.0.conv1 1.90 ms (2.11x)",
        "layer1.0.conv1 1.88 ms (2.13x)",
    ]


@pytest.mark.parametrize("known", [True, False])
def test_the_summary_says_where_the_gain_is_not_known(known: bool) -> None:
    found = TaskProgress("a", 1, 8, 0, 2.0 if known else None, 1.0)
    lost = TaskProgress("b", 3, 8, 3, None, 1.5)
    line = view.summary_line(replace(PROGRESS, tasks=(found, lost), trials=16, failures=3))
    without = "layers without a time of the default schedule, so the gain is not known"
    if known:
        assert line == (
            "1 of 4 layers: 2.00 ms by default, 1.00 ms tuned, 2.00x together and 2.00x in geometric mean; "
            f"3 {without} (16 trials, 3 failures)"
        )
    else:
        assert line == f"4 {without} (16 trials, 3 failures)"


def test_the_summary_has_the_table_where_the_view_left_none() -> None:
    log, terminal = console(), console(terminal=True)
    print_summary(PROGRESS, log)
    print_summary(PROGRESS, terminal)
    line = (
        "4 of 5 layers: 15.0 ms by default, 9.00 ms tuned, 1.67x together and 1.68x in geometric mean "
        "(70 trials, 2 failures)"
    )
    assert written(log).endswith(line + "\n")
    assert "layer1.0.conv1" in written(log)
    assert line in written(terminal)
    assert "layer1.0.conv1" not in written(terminal)
