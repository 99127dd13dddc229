"""The stopwatch: parts add up, threads count with their caller, a logger is told."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from sparsegen import stopwatch


def test_an_inner_part_interrupts_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([(0.0, 0.0), (1.0, 0.5), (4.0, 2.5), (10.0, 5.0)])
    monkeypatch.setattr(stopwatch, "_now", lambda: next(clock))
    with stopwatch.record() as parts, stopwatch.part("outer"), stopwatch.part("inner"):
        pass
    assert parts == {
        "inner": stopwatch.Part(seconds=3.0, cpu=2.0, times=1),
        "outer": stopwatch.Part(seconds=7.0, cpu=3.0, times=1),
    }


def test_a_part_that_fails_is_counted() -> None:
    with stopwatch.record() as parts:
        with pytest.raises(ValueError, match="no"), stopwatch.part("failing"):
            raise ValueError("no")
        with stopwatch.part("after"):
            pass
    assert {name: each.times for name, each in parts.items()} == {"failing": 1, "after": 1}


def test_a_recording_within_another_adds_to_it() -> None:
    with stopwatch.record() as outer:
        with stopwatch.record() as inner, stopwatch.part("one"):
            pass
        with stopwatch.part("one"):
            pass
    assert inner is outer
    assert outer["one"].times == 2


def test_threads_in_a_copied_context_count_and_others_do_not() -> None:
    @stopwatch.part("work")
    def work() -> None:
        pass

    with stopwatch.record() as parts, ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            pool.submit(copy_context().run, work).result()
        pool.submit(work).result()
    assert parts["work"].times == 10


def test_nothing_is_recorded_after_the_recording() -> None:
    with stopwatch.record() as parts:
        pass
    with stopwatch.part("late"):
        pass
    assert not parts


def test_the_logger_is_told_every_part(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sparsegen.stopwatch"), stopwatch.record(), stopwatch.part("linking"):
        pass
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["linking"]
