"""Whole runs with a fake measurer: budgets, resuming, failures, races, priors."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from sparsegen.database.journal import Journal, read_journal
from sparsegen.database.trial import Status
from sparsegen.database.tuned import best_of
from sparsegen.errors import SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.tuner import learning
from sparsegen.tuner.cost_model import FEATURES_VERSION, CostModel, Sample
from sparsegen.tuner.jobs import Task
from sparsegen.tuner.learning import model_path
from sparsegen.tuner.measure.measurement import Measurement
from sparsegen.tuner.options import TuneOptions
from sparsegen.tuner.search import SEARCHES, EvolutionarySearch, RandomSearch
from sparsegen.tuner.session import Session
from sparsegen.tuner.view import Progress
from tests.tuner.fakes import BROKEN, SETTING, Bowl, FakeMeasurer, bowl_ms, bowl_space, other, task


def tune(
    path: Path,
    tasks: list[Task],
    *,
    trials: int | None = None,
    hours: float | None = None,
    measurer: FakeMeasurer | None = None,
    search: str = "evolution",
    seed: int = 0,
    patience: int = 0,
    priors: tuple[Path, ...] = (),
) -> tuple[list[Progress], FakeMeasurer]:
    """Run a session to its end; what it told, and its measurer."""
    measurer, told = measurer or FakeMeasurer(), list[Progress]()
    with Journal.open(path) as journal:
        Session(
            tasks,
            measurer=measurer,
            journal=journal,
            options=TuneOptions(trials=trials, hours=hours, search=search, seed=seed, patience=patience),
            priors=[read_journal(prior) for prior in priors],
            listener=told.append,
        ).run()
    return told, measurer


def points(path: Path) -> list[tuple[object, ...]]:
    """What was tried, in order."""
    return [(trial.workload, *trial.schedule.items()) for trial in read_journal(path).trials]


def test_a_run_spends_its_trials_on_new_schedules_and_beats_the_default(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    told, measurer = tune(path, [task("a"), task("b", layers=3)], trials=160)
    log = read_journal(path)
    assert len(log.trials) == len(measurer.measured) == len(set(points(path))) == 160
    assert told[-1].trials == 160
    assert told[-1].share_done == 1.0
    for tuned in best_of(log):
        assert tuned.gain is not None
        assert tuned.gain > bowl_ms(Bowl()) / 2
    assert {trial.origin for trial in log.trials} >= {"default", "model", "random"}
    assert all(trial.features and trial.features_version == FEATURES_VERSION for trial in log.trials)


def test_the_default_is_the_first_trial_of_every_workload(tmp_path: Path) -> None:
    for search in SEARCHES:
        path = tmp_path / f"{search}.jsonl"
        tune(path, [task("a"), task("b")], trials=40, search=search)
        trials = read_journal(path).trials
        for name in ("a", "b"):
            first = next(trial for trial in trials if trial.workload.operator == name)
            assert (first.origin, first.schedule) == ("default", Bowl().as_dict())


def test_the_same_command_goes_on_and_its_budget_is_a_total(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    tune(path, [task("a"), task("b")], trials=50)
    before = points(path)
    _, measurer = tune(path, [task("a"), task("b")], trials=120)
    assert len(measurer.measured) == 70
    assert points(path)[:50] == before
    assert len(set(points(path))) == 120
    _, measurer = tune(path, [task("a"), task("b")], trials=120)
    assert measurer.measured == []
    assert measurer.raced == []


def test_trials_go_where_the_time_is(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    tune(
        path,
        [task("light"), task("heavy", layers=4)],
        trials=320,
        measurer=FakeMeasurer(scales={"heavy": 10.0}),
    )
    counts = Counter(trial.workload.operator for trial in read_journal(path).trials)
    assert counts["heavy"] > 2 * counts["light"]
    assert counts["light"] >= 16


def test_failures_are_records_and_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    told, _ = tune(path, [task("a")], trials=600, measurer=FakeMeasurer(broken=True), search="random")
    trials = read_journal(path).trials
    statuses = Counter(trial.status for trial in trials)
    assert len(trials) == 600
    assert set(statuses) == {"ok", *BROKEN.values()}
    assert all((trial.times_ms == ()) == (trial.status != "ok") for trial in trials)
    assert all(trial.error for trial in trials if trial.status != "ok")
    assert told[-1].failures == 600 - statuses["ok"]


def test_a_workload_that_stops_gaining_gets_no_more(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    told, _ = tune(path, [task("a")], trials=5000, patience=64)
    assert 64 <= told[-1].trials < 2000
    assert told[-1].tasks[0].stopped == "no gain in 64 trials"
    assert "stopped gaining" in told[-1].note


def test_a_space_that_is_used_up_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    told, _ = tune(path, [task("a", space=bowl_space(3))], trials=500)
    assert told[-1].trials == len(list(bowl_space(3).schedules()))
    assert told[-1].tasks[0].stopped == "every schedule was tried"


def test_hours_hold(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    began = time.monotonic()
    told, _ = tune(path, [task("a")], hours=3 / 3600, measurer=FakeMeasurer(delay_s=0.02))
    assert 2.0 < time.monotonic() - began < 6.0
    assert told[-1].trials > 20


def test_the_best_race_the_incumbent(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _, measurer = tune(path, [task("a")], trials=64)
    (race,) = read_journal(path).races
    assert race.schedules[0] == Bowl().as_dict()
    assert len(race.schedules) == 5
    assert all(len(times) == 11 for times in race.times_ms)
    winner = race.schedules[race.winner]
    _, measurer = tune(path, [task("a")], trials=160)
    if measurer.raced:  # something faster was found
        assert read_journal(path).races[-1].schedules[0] == winner


def test_another_machines_trials_are_a_prior_and_never_the_best(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    elsewhere = other(machine="another machine")
    tune(path, [task("a")], trials=128, measurer=FakeMeasurer(setting=elsewhere, scales={"a": 0.01}))
    tune(path, [task("a")], trials=64)
    log = read_journal(path)
    here = log.measured(SETTING)
    assert len(here) == 64
    best = {tuned.setting: tuned for tuned in best_of(log)}
    assert best[SETTING].ms >= bowl_ms(Bowl(23, 15, 9))
    taken_over = [trial for trial in here if trial.origin == "prior"]
    assert [trial.schedule for trial in taken_over] == [best[elsewhere].schedule]


def test_what_other_logs_teach_shortens_the_search(tmp_path: Path) -> None:
    tune(tmp_path / "prior.jsonl", [task("a", density=0.4)], trials=128)
    told, _ = tune(tmp_path / "log.jsonl", [task("a")], trials=32, priors=(tmp_path / "prior.jsonl",))
    alone, _ = tune(tmp_path / "alone.jsonl", [task("a")], trials=32)
    with_prior, without = (each[-1].tasks[0].best_ms for each in (told, alone))
    assert with_prior is not None
    assert without is not None
    assert with_prior < without


def test_features_of_an_older_version_are_worked_out_again(tmp_path: Path) -> None:
    """An old log, of trials whose features mean something else, is learnt from and not believed."""
    tune(tmp_path / "new.jsonl", [task("a")], trials=96)
    with Journal.open(tmp_path / "old.jsonl") as journal:
        for trial in read_journal(tmp_path / "new.jsonl").trials:
            journal.append(replace(trial, features={"gone": 1.0}, features_version=FEATURES_VERSION - 1))
    told, _ = tune(tmp_path / "old.jsonl", [task("a")], trials=112)
    assert told[-1].rank_correlation is not None
    assert told[-1].rank_correlation > 0.5


def test_the_model_is_saved_beside_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    told, _ = tune(path, [task("a")], trials=96)
    model = CostModel.load(model_path(path))
    assert model is not None
    assert model.rank_correlation == told[-1].rank_correlation


def test_searches_of_one_seed_are_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tune(tmp_path / name, [task("a")], trials=80, seed=3)
    tune(tmp_path / "three", [task("a")], trials=80, seed=4)
    assert points(tmp_path / "one") == points(tmp_path / "two") != points(tmp_path / "three")


def test_an_interrupt_loses_nothing_that_was_measured(tmp_path: Path) -> None:
    path, count = tmp_path / "log.jsonl", 0

    def interrupt() -> None:
        nonlocal count
        count += 1
        if count == 37:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(path, [task("a")], trials=64, measurer=FakeMeasurer(on_measured=interrupt))
    assert len(read_journal(path).trials) == 37
    _, measurer = tune(path, [task("a")], trials=64)
    assert len(measurer.measured) == 64 - 37
    assert len(set(points(path))) == 64


def test_a_full_disk_stops_the_run_and_the_log_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, written = tmp_path / "log.jsonl", 0
    append = Journal.append

    def full(journal: Journal, record: object) -> None:
        nonlocal written
        written += 1
        if written > 20:
            raise SparsegenError(f"cannot write {path}: the disk is full")
        append(journal, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(SparsegenError, match="the disk is full"):
        tune(path, [task("a")], trials=64)
    monkeypatch.undo()
    log = read_journal(path)
    assert (len(log.trials), log.skipped) == (20, [])


DEFAULT = Bowl()


def defaults(path: Path, name: str = "a") -> list[str]:
    """How the trials of a workload's default ended, in order."""
    trials = read_journal(path).trials
    return [t.status for t in trials if t.workload.operator == name and t.schedule == DEFAULT.as_dict()]


@pytest.mark.parametrize("lost", ["lost", "memory"])
def test_a_default_that_the_machine_lost_is_tried_again(tmp_path: Path, lost: Status) -> None:
    path = tmp_path / "log.jsonl"
    told, _ = tune(path, [task("a")], trials=48, measurer=FakeMeasurer(mishaps={("a", DEFAULT): [lost] * 2}))
    assert defaults(path) == [lost, lost, "ok"]
    assert told[-1].tasks[0].default_ms == pytest.approx(bowl_ms(DEFAULT), abs=1e-4)
    assert len(read_journal(path).trials) == 48


@pytest.mark.parametrize("status", ["crash", "timeout", "wrong result", "build error"])
def test_a_default_that_fails_by_itself_is_not_tried_again(tmp_path: Path, status: Status) -> None:
    path = tmp_path / "log.jsonl"
    for trials in (32, 48):
        tune(path, [task("a")], trials=trials, measurer=FakeMeasurer(mishaps={("a", DEFAULT): [status] * 9}))
    assert defaults(path) == [status]


def test_a_default_is_lost_three_times_a_run_and_the_next_run_tries_it_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    mishaps: dict[tuple[str, Bowl], list[Status]] = {("a", DEFAULT): ["lost"] * 5}
    told, _ = tune(path, [task("a")], trials=96, measurer=FakeMeasurer(mishaps=mishaps))  # and in the race
    assert defaults(path) == ["lost"] * 3
    assert told[-1].tasks[0].default_ms is None
    assert told[-1].tasks[0].best_ms is not None
    told, _ = tune(path, [task("a")], trials=160, measurer=FakeMeasurer(mishaps=mishaps))
    assert defaults(path) == [*["lost"] * 4, "ok"]
    assert told[-1].tasks[0].default_ms == pytest.approx(bowl_ms(DEFAULT), abs=1e-4)


def test_a_workload_that_was_lost_as_a_whole_is_not_left_behind(tmp_path: Path) -> None:
    """The first batch met no server; the other workload has all to gain by comparison."""
    path, left = tmp_path / "log.jsonl", 16
    measurer = FakeMeasurer(scales={"other": 100.0})
    measure = measurer._measurement

    def losing(job: str, schedule: KernelSchedule, *, samples: int) -> Measurement:
        nonlocal left
        if job == "a" and left:
            left -= 1
            return Measurement(schedule, "lost", error="the server went away")
        return measure(job, schedule, samples=samples)

    measurer._measurement = losing  # type: ignore[method-assign]
    told, _ = tune(path, [task("a"), task("other")], trials=64, measurer=measurer)
    assert defaults(path) == ["lost", "ok"]
    assert all(each.default_ms is not None for each in told[-1].tasks)


def test_races_begin_with_what_saves_most(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    measurer = FakeMeasurer(scales={"light": 1.0, "heavy": 20.0, "many": 3.0})
    tasks = [task("light"), task("heavy"), task("many", layers=40)]
    told, _ = tune(path, tasks, trials=96, measurer=measurer)
    saved = {
        each.name.partition(".")[0]: each.layers * (each.default_ms - each.best_ms)
        for each in told[-1].tasks
        if each.default_ms is not None and each.best_ms is not None
    }
    assert measurer.raced_jobs == sorted(saved, key=saved.__getitem__, reverse=True)
    assert measurer.raced_jobs[0] == "many"


def test_fits_do_not_follow_every_batch_of_a_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,008 trials are 188 batches: the number of fits grows with the logarithm of the trials."""
    fitted: list[int] = []

    def count(samples: Sequence[Sample], *, seed: int, objective: str | None = None) -> CostModel | None:
        fitted.append(len(samples))
        return cast("CostModel", Untaught())

    monkeypatch.setattr(learning, "fit", count)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # three thousand times would take seconds
    monkeypatch.setattr(EvolutionarySearch, "propose", RandomSearch().propose)  # only fits are counted
    tune(tmp_path / "log.jsonl", [task("a")], trials=3008)
    assert fitted[:4] == [0, 16, 32, 48]  # every batch, while it is news
    assert len(fitted) < 80
    assert all(after >= 1.05 * before for before, after in pairwise(fitted[2:]))
    assert fitted[-1] > 0.95 * 3000


class Untaught:
    """A model that knows nothing."""

    rank_correlation, objective = 0.0, "none"

    def predict(self, features: Sequence[object]) -> list[float]:
        return [0.0] * len(features)

    def save(self, path: Path) -> None:
        pass
