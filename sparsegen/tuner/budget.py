"""How long tuning goes on: a number of trials, or hours, over all runs that wrote to one journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sparsegen.errors import OptionError
from sparsegen.options import check_count

if TYPE_CHECKING:
    from sparsegen.database.trial import Trial

_PAUSE_S = 120.0  # between records of one run there is less


@dataclass(frozen=True)
class Budget:
    """A total, of trials or of hours; exactly one of the two is given.

    Raises SparsegenError for neither, both, or a total that is not above zero.
    """

    trials: int | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        if (self.trials is None) == (self.hours is None):
            found = "neither was" if self.trials is None else "both were"
            raise OptionError(f"give a number of trials or of hours: {found} given")
        if self.trials is not None:
            check_count("trials", self.trials, 1)
        if self.hours is not None and not 0 < self.hours < float("inf"):
            raise OptionError(f"hours is {self.hours}: give a time above 0, such as 8 or 0.5")

    @property
    def text(self) -> str:
        """In words: `700 trials`, `8 h`."""
        return f"{self.trials} trials" if self.trials is not None else f"{self.hours:g} h"


class Clock:
    """What is left of a budget, of which the trials before this run used a part."""

    def __init__(
        self, budget: Budget, before: Sequence[Trial], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget = budget
        self._now = now
        self._began = now()
        self._trials_before = len(before)
        self._seconds_before = seconds_spent(before)
        self._trials = 0

    def count(self) -> None:
        """Count a trial of this run."""
        self._trials += 1

    @property
    def elapsed_s(self) -> float:
        """Seconds of this run."""
        return self._now() - self._began

    @property
    def trials(self) -> int:
        """Trials of all runs."""
        return self._trials_before + self._trials

    @property
    def trials_left(self) -> int | None:
        """None where the budget is of hours."""
        return None if self._budget.trials is None else max(0, self._budget.trials - self.trials)

    @property
    def seconds_left(self) -> float | None:
        """None where the budget is of trials and none was made yet to tell how long they take."""
        if self._budget.hours is not None:
            return max(0.0, 3600 * self._budget.hours - self._seconds_before - self.elapsed_s)
        left = self.trials_left
        assert left is not None
        return self.elapsed_s / self._trials * left if self._trials else None

    @property
    def share_done(self) -> float:
        """Of the budget, from 0 to 1."""
        if self._budget.trials is not None:
            return min(1.0, self.trials / self._budget.trials)
        assert self._budget.hours is not None
        return min(1.0, (self._seconds_before + self.elapsed_s) / (3600 * self._budget.hours))

    @property
    def per_minute(self) -> float:
        """Trials a minute of this run."""
        return 60 * self._trials / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        if self._budget.trials is not None:
            return self.trials_left == 0
        return self.seconds_left == 0.0

    def deadline(self, *, reserve_s: float = 0.0) -> float:
        """The time of `time.monotonic` at which the hours end, less a reserve; infinite without hours."""
        if self._budget.hours is None:
            return float("inf")
        return self._began + 3600 * self._budget.hours - self._seconds_before - reserve_s


def seconds_spent(trials: Sequence[Trial]) -> float:
    """Seconds that earlier runs took, told from when their trials ended: pauses between runs do not count.

    A run's first trial counts with what it took itself.
    """
    spent, last = 0.0, None
    for trial in sorted(trials, key=lambda each: each.at):
        at = datetime.fromisoformat(trial.at).timestamp() if trial.at else None
        own = sum(trial.seconds)
        gap = at - last if at is not None and last is not None else None
        spent += gap if gap is not None and gap <= _PAUSE_S else own
        last = at
    return spent
