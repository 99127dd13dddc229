from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sparsegen.database.trial import Trial
from sparsegen.errors import SparsegenError
from sparsegen.tuner.budget import Budget, Clock, seconds_spent
from tests.tuner.fakes import SETTING, workload


def trial(at_s: float, *, seconds: tuple[float, float] = (1.0, 1.0)) -> Trial:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at_s)
    return Trial(workload(), SETTING, "bowl", {}, "ok", (1.0,), at=at.isoformat(), seconds=seconds)


@pytest.mark.parametrize(
    ("trials", "hours", "message"),
    [
        (None, None, "neither was given"),
        (10, 1.0, "both were given"),
        (0, None, "trials is 0: give at least 1"),
        (-5, None, "trials is -5"),
        (None, 0.0, r"hours is 0.0: give a time above 0"),
        (None, -1.0, "hours is -1.0"),
        (None, float("nan"), "hours is nan"),
        (None, float("inf"), "hours is inf"),
    ],
)
def test_budgets_that_make_no_sense(trials: int | None, hours: float | None, message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        Budget(trials, hours)


def test_trials_are_a_total_over_runs() -> None:
    clock = Clock(Budget(trials=5), [trial(0), trial(3)])
    assert (clock.trials_left, clock.over, clock.share_done) == (3, False, 0.4)
    for _ in range(3):
        clock.count()
    assert (clock.trials_left, clock.over, clock.share_done) == (0, True, 1.0)
    assert Clock(Budget(trials=1), [trial(0), trial(3)]).over


def test_hours_are_a_total_over_runs() -> None:
    now = 100.0
    clock = Clock(Budget(hours=1), [trial(0), trial(60), trial(100)], now=lambda: now)
    assert clock.seconds_left == pytest.approx(3600 - 102)
    assert clock.deadline() == pytest.approx(100 + 3600 - 102)
    assert clock.deadline(reserve_s=50) == pytest.approx(clock.deadline() - 50)
    now += 3600 - 103
    assert not clock.over
    now += 1
    assert clock.over
    assert clock.share_done == 1.0


def test_pauses_between_runs_do_not_count() -> None:
    assert seconds_spent([]) == 0
    assert seconds_spent([trial(0), trial(100)]) == 102  # the first counts with what it took itself
    assert seconds_spent([trial(0), trial(100), trial(9000), trial(9050)]) == 102 + 52
    assert seconds_spent([trial(9050), trial(0), trial(9000), trial(100)]) == 102 + 52


def test_the_time_left_of_a_number_of_trials_is_told_from_the_pace() -> None:
    now = 0.0
    clock = Clock(Budget(trials=40), [], now=lambda: now)
    assert clock.seconds_left is None
    now = 10.0
    for _ in range(10):
        clock.count()
    assert clock.seconds_left == pytest.approx(30)
    assert clock.per_minute == pytest.approx(60)
    assert clock.deadline() == float("inf")


def test_budgets_in_words() -> None:
    assert Budget(trials=700).text == "700 trials"
    assert Budget(hours=0.5).text == "0.5 h"
