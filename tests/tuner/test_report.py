"""Curves of the best time so far, and the table of them."""

from __future__ import annotations

import io
from dataclasses import replace
from math import inf
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sparsegen.database.trial import Trial
from sparsegen.errors import SparsegenError
from sparsegen.tuner.report import curves, describe, print_report, search_line, searches_of
from tests.database.records import CONV, ELSEWHERE, HERE, POOL, trial


def run(*times: float | None, seed: int = 0, search: str = "evolution", **fields: Any) -> list[Trial]:
    """Trials of one run: the default first, None for one that failed; every schedule is another one."""
    rows = [1000 * seed + count for count in range(len(times))]
    return [
        trial(
            row,
            *(() if time is None else (time,)),
            seed=seed,
            search=search,
            origin="default" if first else "model",
            **fields,
        )
        for row, time, first in zip(rows, times, [True] + [False] * len(times), strict=False)
    ]


def report(trials: list[Trial], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_report(curves(trials), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_best_so_far_after_each_trial() -> None:
    (found,) = curves(run(4.0, 5.0, None, 2.0, 3.0))
    (curve,) = found.searches
    assert (curve.search, curve.seeds, curve.trials) == ("evolution", 1, 5)
    assert curve.median_ms == curve.least_ms == curve.most_ms == (4, 4, 4, 2, 2)
    assert (found.default_ms, found.best_ms, found.gain("evolution")) == (4, 2, 2)


def test_nothing_is_known_before_a_trial_ends_well() -> None:
    (found,) = curves(run(None, None, 3.0))
    assert found.searches[0].median_ms == (inf, inf, 3)
    assert found.default_ms is None
    assert found.gain("evolution") is None
    assert found.trials_to_best("evolution") == 3


def test_seeds_make_a_median_and_a_band() -> None:
    (found,) = curves(run(4.0, 2.0) + run(4.2, 3.0, seed=1) + run(4.1, None, 1.0, seed=2))
    (curve,) = found.searches
    assert curve.seeds == 3
    assert curve.median_ms == (4.1, 3, 2)  # the runs that stopped after two trials keep what they had
    assert curve.least_ms == (4, 2, 1)
    assert curve.most_ms == (4.2, 4.1, 3)
    assert found.default_ms == 4.1
    assert found.gain("evolution") == 4.1 / 2


def test_interleaved_runs_are_told_apart() -> None:
    runs = (run(4.0, 2.0), run(4.0, 3.0, search="random"), run(9.0, 8.0, workload=POOL))
    conv, pool = curves([each for together in zip(*runs, strict=True) for each in together])
    assert [(curve.search, curve.best_ms) for curve in conv.searches] == [("evolution", 2), ("random", 3)]
    assert (pool.workload, pool.searches[0].best_ms) == (POOL, 8)
    assert pool.curve("random") is None
    assert pool.trials_to_best("random") is None


def test_times_of_other_machines_are_not_mixed_in() -> None:
    here, there = curves(run(4.0, 3.0) + run(2.0, 1.0, setting=ELSEWHERE))
    assert (here.setting, here.best_ms) == (HERE, 3)
    assert (there.setting, there.best_ms) == (ELSEWHERE, 1)
    titles, common = describe([here, there])
    assert titles == [
        ("3x3 conv 64→64 at 56x56", f"{setting.machine} (AVX-512)") for setting in (HERE, ELSEWHERE)
    ]
    assert common == ["50% unstructured", "batch 16", "2 threads"]


def test_a_schedule_found_wrong_later_was_never_the_best() -> None:
    trials = run(4.0, 1.0, 3.0)
    wrong = replace(trials[1], status="wrong result", times_ms=())
    (found,) = curves([*trials, wrong])
    assert found.searches[0].median_ms == (4, 4, 3, 3)
    assert found.best_ms == 3


def test_trials_to_come_close() -> None:
    evolution = run(4.0, 2.09, 2.0)
    (found,) = curves(evolution + run(4.0, 3.0, 3.0, 2.2, search="random"))
    assert found.trials_to_best("evolution") == 2
    assert found.trials_to_best("random") is None
    assert search_line([found], "evolution") == (
        "evolution: 2.00x over the default in geometric mean, within 5% of the best on 1 of 1 workloads, "
        "after 2 trials in the median"
    )
    assert search_line([found], "random").endswith("within 5% of the best on 0 of 1 workloads")


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(0.001, 1000)), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    ).filter(lambda runs: any(time for run in runs for time in run))
)
def test_curves_fall_and_end_at_the_best(runs: list[list[float | None]]) -> None:
    (found,) = curves([each for seed, times in enumerate(runs) for each in run(*times, seed=seed)])
    (curve,) = found.searches
    assert curve.trials == max(map(len, runs))
    for values in (curve.least_ms, curve.median_ms, curve.most_ms):
        assert list(values) == sorted(values, reverse=True)
    assert all(
        least <= middle <= most
        for least, middle, most in zip(curve.least_ms, curve.median_ms, curve.most_ms, strict=True)
    )
    ends = [min((time for time in times if time), default=inf) for times in runs]
    assert (found.best_ms, curve.best_ms) == (min(ends), median(ends))


def test_evolution_comes_before_random_and_the_rest() -> None:
    trials = run(1.0, search="grid") + run(1.0, search="random") + run(1.0)
    assert searches_of(curves(trials)) == ["evolution", "random", "grid"]


def test_the_table_fits_a_terminal_and_says_what_was_found() -> None:
    trials = [
        each
        for seed in range(5)
        for each in run(6.0, 5.0, 3.0, seed=seed) + run(6.0, 5.0, 4.0, seed=seed, search="random")
    ]
    text = report(trials + run(9.0, None, workload=POOL))
    rows = [line.split() for line in text.splitlines()]
    first = next(row for row in rows if "conv" in row)
    assert first[-8:] == ["6.00", "evolution", "3", "x", "5", "3.00", "2.00x", "3"]
    assert ["random", "3", "x", "5", "4.00", "1.50x", "never"] in [row[-7:] for row in rows]
    assert "all: batch 16, 2 threads, AMD EPYC 9B45 (AVX-512)" in text
    assert max(map(len, text.splitlines()[:12])) <= 80


def test_a_workload_without_a_good_trial_has_a_row() -> None:
    text = report(run(4.0, 3.0) + run(None, None, workload=POOL))
    (row,) = (line.split() for line in text.splitlines() if "pool" in line)
    assert row[-4:] == ["evolution", "2", "none", "never"]


def test_names_in_a_log_are_no_markup() -> None:
    assert "[red]" in report(
        run(4.0, 3.0, workload=replace(CONV, structure="unstructured"))
        + run(2.0, workload=replace(CONV, structure="[red]x")),
        width=140,
    )


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], "tuning.jsonl holds no trials, .*run `sparsegen tune` first"),
        (run(None, None), r"none of the 2 trials in tuning.jsonl ended well \(the last: crash\)"),
        (run(None, error="signal 11"), r"\(the last: crash, signal 11\)"),
    ],
)
def test_nothing_to_report(trials: list[Trial], message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        curves(trials, log="tuning.jsonl")
