"""Records of tuning: one schedule tried on one workload, and races of the best few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from sparsegen.database.workload import Setting, Workload
from sparsegen.kernels.space import Point

Status = Literal["ok", "build error", "crash", "timeout", "memory", "wrong result", "lost"]
"""How a trial ended. `lost`: the machine that measured it went away, or somebody ended the process."""

_INCONCLUSIVE = ("lost", "memory")

Origin = Literal["default", "prior", "model", "random"]
"""Who proposed a schedule: the choice without tuning, another run's log, the cost model, or chance."""


@dataclass(frozen=True)
class Trial:
    """One schedule, compiled and run, or tried in vain.

    `times_ms` are all timings, in the order they were taken, empty where `status` is not "ok"; `error`
    says then what happened. `features` are as of version `features_version`. `search` is the strategy
    of the run, "evolution" or "random", and `seed` its seed. `at` is the time in UTC, ISO 8601;
    `seconds` what it took to build and to run.
    """

    workload: Workload
    setting: Setting
    kernel: str
    schedule: Point
    status: Status
    times_ms: tuple[float, ...] = ()
    error: str = ""
    features: Mapping[str, float] = field(default_factory=dict)
    features_version: int = 0
    origin: Origin = "random"
    search: str = "evolution"
    seed: int = 0
    at: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def median_ms(self) -> float:
        """Median of the timings; infinite where there are none."""
        return median(self.times_ms) if self.times_ms else float("inf")

    @property
    def inconclusive(self) -> bool:
        """Whether it failed for want of memory or of a machine: the schedule itself may be good."""
        return self.status in _INCONCLUSIVE


@dataclass(frozen=True)
class Race:
    """The best few schedules of a workload, timed in turn: `times_ms[i]` are those of `schedules[i]`.

    The first was the incumbent, the default where there was none.
    """

    workload: Workload
    setting: Setting
    kernel: str
    schedules: tuple[Point, ...]
    times_ms: tuple[tuple[float, ...], ...]
    at: str = ""

    @property
    def winner(self) -> int:
        """Index of the schedule with the least median."""
        medians = [median(times) for times in self.times_ms]
        return medians.index(min(medians))
