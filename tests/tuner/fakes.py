"""A space, a task and a measurer without a compiler: times are a function of the knobs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sparsegen.database.trial import Status
from sparsegen.database.workload import Setting, Workload
from sparsegen.kernels.space import KernelSchedule, Point, Space
from sparsegen.tuner.jobs import Task
from sparsegen.tuner.measure.measurement import Measurement

SETTING = Setting("znver4", "AVX-512", 1, "a machine", "0.1.0", "0.27")
BROKEN: dict[int, Status] = {3: "crash", 5: "timeout", 8: "memory", 9: "wrong result", 11: "build error"}
"""What becomes of schedules with such a height and an odd depth."""


@dataclass(frozen=True)
class Bowl:
    """A schedule of three knobs."""

    width: int = 1
    height: int = 1
    depth: int = 1

    def as_dict(self) -> Point:
        return asdict(self)


def bowl_ms(schedule: Bowl, *, scale: float = 1.0) -> float:
    """The time of a schedule: least at (23, 14, 9)."""
    distance = (
        (schedule.width - 23) ** 2 / 200 + (schedule.height - 14) ** 2 / 50 + (schedule.depth - 9) ** 2 / 9
    )
    return scale * (1 + distance)


def bowl_space(size: int = 32) -> Space:
    """All points whose width times height is not a multiple of seven."""

    def features(schedule: Bowl) -> dict[str, float]:
        return {
            "width": schedule.width,
            "height": schedule.height,
            "depth": schedule.depth,
            "volume": math.log2(schedule.width * schedule.height * schedule.depth),
        }

    values = tuple(range(1, size + 1))
    return Space(
        "bowl",
        {"width": values, "height": values, "depth": values},
        Bowl(),
        Bowl,
        lambda schedule: schedule.width * schedule.height % 7 != 0,
        features,
    )


def workload(name: str = "conv2d", *, density: float = 0.5, channels: int = 8) -> Workload:
    """A workload that differs from others by its operator, density or channels."""
    parameters = (("weight", (channels, channels, 3, 3)),)
    shape = (16, channels, 14, 14)
    return Workload(name, shape, shape, parameters, "batch", "unstructured", density)


def task(name: str, *, layers: int = 1, space: Space | None = None, density: float = 0.5) -> Task:
    """A task without a layer: a fake measurer needs none."""
    names = tuple(f"{name}.{i}" for i in range(layers))
    job: Any = name
    return Task(workload(name, density=density), names, space or bowl_space(), job)


class FakeMeasurer:
    """Answers at once, or after `delay_s`; `scales` are times of jobs by their name.

    `on_measured` is called after every measurement, before it is handed on. With `broken`, schedules
    fail as BROKEN says; those of `mishaps` fail as it says, one after the other, and then no longer.
    """

    def __init__(
        self,
        *,
        scales: dict[str, float] | None = None,
        delay_s: float = 0.0,
        broken: bool = False,
        mishaps: dict[tuple[str, Bowl], list[Status]] | None = None,
        setting: Setting = SETTING,
        on_measured: Callable[[], None] = lambda: None,
    ) -> None:
        self.setting = setting
        self.target: Any = None
        self.scales = scales or {}
        self.delay_s = delay_s
        self.broken = broken
        self.mishaps = mishaps or {}
        self.on_measured = on_measured
        self.measured: list[tuple[Any, KernelSchedule]] = []
        self.raced: list[list[KernelSchedule]] = []
        self.raced_jobs: list[Any] = []
        self.closed = False

    def measure(
        self, job: Any, schedules: Sequence[KernelSchedule], *, best_ms: float, deadline: float
    ) -> Iterator[Measurement]:
        for schedule in schedules:
            if time.monotonic() >= deadline:
                return
            time.sleep(self.delay_s)
            self.measured.append((job, schedule))
            yield self._measurement(job, schedule, samples=5)
            self.on_measured()

    def race(self, job: Any, schedules: Sequence[KernelSchedule]) -> list[Measurement]:
        self.raced.append(list(schedules))
        self.raced_jobs.append(job)
        return [self._measurement(job, schedule, samples=11) for schedule in schedules]

    def close(self) -> None:
        self.closed = True

    def _measurement(self, job: Any, schedule: KernelSchedule, *, samples: int) -> Measurement:
        assert isinstance(schedule, Bowl)
        if self.mishaps.get((job, schedule)):
            return Measurement(schedule, self.mishaps[job, schedule].pop(0), error="as asked for")
        if self.broken and schedule.depth % 2 and schedule.height in BROKEN:
            return Measurement(schedule, BROKEN[schedule.height], error="as asked for")
        time_ms = bowl_ms(schedule, scale=self.scales.get(job, 1.0))
        return Measurement(schedule, "ok", (time_ms,) * samples, build_s=0.3, run_s=0.1)


def other(setting: Setting = SETTING, **changes: Any) -> Setting:
    """A setting like another but for some fields."""
    return replace(setting, **changes)
