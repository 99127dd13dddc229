"""What a log comes to: the best schedule of each workload, and what the default took."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Any

from sparsegen.database.journal import Log
from sparsegen.database.trial import Race, Trial
from sparsegen.database.workload import Setting, Workload
from sparsegen.kernels.space import Point


@dataclass(frozen=True)
class Tuned:
    """The best schedule found for a workload.

    `ms` is its median time, `default_ms` that of the schedule chosen without tuning, None where that
    was not measured; `trials` are those that were made for the workload.
    """

    workload: Workload
    setting: Setting
    kernel: str
    schedule: Point
    ms: float
    default_ms: float | None
    trials: int

    @property
    def gain(self) -> float | None:
        """How many times as fast as the default."""
        return None if self.default_ms is None or self.ms == 0 else self.default_ms / self.ms

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "workload": self.workload.as_dict(),
            "setting": self.setting.as_dict(),
            "kernel": self.kernel,
            "schedule": self.schedule,
            "ms": round(self.ms, 4),
            "default_ms": None if self.default_ms is None else round(self.default_ms, 4),
            "trials": self.trials,
        }


def best_of(log: Log) -> list[Tuned]:
    """The best schedule of each workload in each setting, in the order in which they were first met.

    That is the winner of the last race, or without one the schedule with the least median. What gave
    a wrong result in any trial is never the best.
    """
    trials: dict[Any, list[Trial]] = defaultdict(list)
    for trial in log.trials:
        trials[trial.workload, trial.setting, trial.kernel].append(trial)
    races: dict[Any, Race] = {(race.workload, race.setting, race.kernel): race for race in log.races}
    found = [_best(key, trials.get(key, []), races.get(key)) for key in dict.fromkeys([*trials, *races])]
    return [tuned for tuned in found if tuned is not None]


def _best(key: Any, trials: list[Trial], race: Race | None) -> Tuned | None:
    """The best schedule of one workload; None where no trial ended well."""
    wrong = {_text(trial.schedule) for trial in trials if trial.status == "wrong result"}
    timed = [trial for trial in trials if trial.status == "ok" and trial.times_ms]
    ran = [(trial.median_ms, trial.schedule) for trial in timed]
    raced = []
    if race is not None:
        raced = list(zip(map(median, race.times_ms), race.schedules, strict=True))
    right = [each for each in raced if _text(each[1]) not in wrong]
    right = right or [each for each in ran if _text(each[1]) not in wrong]
    if not right:
        return None
    ms, schedule = min(right, key=lambda each: each[0])
    workload, setting, kernel = key
    return Tuned(workload, setting, kernel, schedule, ms, _default_ms(trials, raced), len(trials))


def _default_ms(trials: list[Trial], raced: list[tuple[float, Point]]) -> float | None:
    """The time of the default schedule: of the race, where it took part, whatever became of its trials."""
    defaults = [trial for trial in trials if trial.origin == "default"]
    timed = [trial for trial in defaults if trial.times_ms]
    default = next(iter(timed or defaults), None)
    if default is None:
        return None
    # In the race both were timed in turn, so the gain is taken from there where it can be.
    again = [time for time, each in raced if each == default.schedule]
    return again[0] if again else default.median_ms if timed else None


def _text(schedule: Point) -> str:
    return json.dumps(schedule, sort_keys=True)
