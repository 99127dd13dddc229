"""kill -9 of the tuner and of its workers: nothing measured is lost or measured twice, the log opens."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from sparsegen.database.journal import Journal, read_journal
from tests.preloaded import Started, run, start
from tests.tuner.fakes import Bowl

LONG = 120.0


def test_many_kills_of_a_tuner_lose_nothing(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    log, acknowledged = tmp_path / "log.jsonl", tmp_path / "acknowledged"
    kills = 20 if pytestconfig.getoption("--soak") else 8
    done = run("-m", "tests.tuner.killed", "fake", str(log), str(acknowledged), str(kills))
    assert done.returncode == 0, done.stderr
    with Journal.open(log) as journal:  # not in use, and whole
        assert journal.log.skipped == []
    found = Counter(f"{t.workload.operator} {Bowl(**t.schedule)}" for t in read_journal(log).trials)  # type: ignore[arg-type]
    told = acknowledged.read_text().splitlines()
    assert len(told) > 10 * kills
    assert set(told) <= set(found)
    assert set(found.values()) == {1}
    # Of each killed run at most the trial whose line was being written was not told.
    assert len(found) <= len(told) + kills


def test_kills_of_the_real_tuner_and_of_its_workers(tmp_path: Path) -> None:
    log, trials = tmp_path / "log.jsonl", 28
    command = ("-m", "tests.tuner.killed", "real", str(log), str(trials))
    for kept in (5, 12):
        tuner = start(*command)
        wait_for(log, kept)
        workers = descendants(tuner)
        assert len(workers) > 2
        tuner.process.kill()
        tuner.process.wait(LONG)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert alive == []  # none goes on by itself
        assert len(read_journal(log).trials) >= kept
    tuner = start(*command)
    wait_for(log, 17)
    for worker in descendants(tuner)[1:]:  # the first is what they are copies of
        os.kill(worker.pid, signal.SIGKILL)
    assert tuner.result(LONG).returncode == 0
    found = read_journal(log)
    assert found.skipped == []
    assert len(found.trials) == trials
    assert len({tuple(trial.schedule.items()) for trial in found.trials}) == trials
    # The killed workers' candidates are records; all others were measured.
    assert sum(trial.status != "ok" for trial in found.trials) <= 3


def descendants(tuner: Started) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(tuner.pid).children(recursive=True)
    return found


def wait_for(log: Path, trials: int) -> None:
    """Until a log has so many trials."""
    until = time.monotonic() + LONG
    while not log.exists() or log.read_bytes().count(b'"type":"trial"') < trials:
        assert time.monotonic() < until, "the tuner does not get on"
        time.sleep(0.02)
