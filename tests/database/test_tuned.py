"""What a log comes to where the default schedule was lost, failed, or is known from a race alone."""

from __future__ import annotations

import pytest

from sparsegen.database.journal import Log
from sparsegen.database.trial import Status
from sparsegen.database.tuned import Tuned, best_of
from tests.database.records import race, trial


def only(log: Log) -> Tuned:
    (tuned,) = best_of(log)
    return tuned


@pytest.mark.parametrize("status", ["lost", "memory", "crash"])
def test_a_default_that_never_succeeded_leaves_the_gain_open(status: Status) -> None:
    log = Log([trial(1, status=status, origin="default"), trial(4, 1.5)])
    found = only(log)
    assert (found.ms, found.default_ms, found.gain, found.trials) == (1.5, None, None, 2)
    assert found.as_dict()["default_ms"] is None


def test_a_default_that_was_lost_at_first_counts_from_its_later_trial() -> None:
    log = Log([trial(1, status="lost", origin="default"), trial(4, 1.5), trial(1, 3.0, origin="default")])
    assert only(log).gain == 2.0


def test_a_default_that_was_lost_counts_from_its_race() -> None:
    log = Log([trial(1, status="memory", origin="default"), trial(4, 1.5)], [race({1: 4.0, 4: 2.0})])
    assert (only(log).ms, only(log).default_ms) == (2.0, 4.0)
