"""What a measurer is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sparsegen.database.trial import Status
from sparsegen.database.workload import Setting
from sparsegen.kernels.space import KernelSchedule
from sparsegen.target import Target
from sparsegen.tuner.jobs import Job


@dataclass(frozen=True)
class Limits:
    """Seconds that a candidate may take to build, and to run all its samples; timings of each candidate.

    A candidate whose first timings are `hopeless` times the best known is timed no further.
    """

    build_s: float = 30.0
    run_s: float = 15.0
    samples: int = 9
    race_samples: int = 31
    hopeless: float = 2.0


@dataclass(frozen=True)
class Measurement:
    """What became of one schedule: `times_ms` where `status` is "ok", else what went wrong in `error`."""

    schedule: KernelSchedule
    status: Status
    times_ms: tuple[float, ...] = ()
    error: str = ""
    build_s: float = 0.0
    run_s: float = 0.0


class Measurer(Protocol):
    """Measures schedules, here or on other machines; `close` ends its processes."""

    @property
    def target(self) -> Target:
        """The CPU that is compiled for."""

    @property
    def setting(self) -> Setting:
        """Where the timings are taken."""

    def measure(
        self, job: Job, schedules: Sequence[KernelSchedule], *, best_ms: float, deadline: float
    ) -> Iterator[Measurement]:
        """Build, check and time every schedule; each measurement is yielded as soon as it is known.

        `best_ms` is the best time known, infinite where there is none. What cannot begin before
        `deadline`, as of `time.monotonic`, is left out. Raises SparsegenError where no schedule could be
        measured any more: gcc fails, or there is no room for files.
        """

    def race(self, job: Job, schedules: Sequence[KernelSchedule]) -> list[Measurement]:
        """The schedules timed in turn, in a new order every round."""

    def close(self) -> None:
        """End every process at once, whatever it does."""
