"""A kernel's schedules as data: its knobs, which points are legal, and what they imply."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sparsegen.errors import ScheduleError

KnobValue = int | str | bool
Point = dict[str, KnobValue]
"""A value for every knob, by name."""


class KernelSchedule(Protocol):
    """One schedule: a flat, frozen, hashable record with a field for every knob of its kernel."""

    def as_dict(self) -> Point:
        """Knob by name."""


def below_one(schedule: KernelSchedule) -> str | None:
    """Why a schedule whose numbers count things cannot be: which of them are below 1; None where none are."""
    low = [
        f"{name} is {value}" for name, value in schedule.as_dict().items() if type(value) is int and value < 1
    ]
    return f"{', '.join(low)}; at least 1 is needed" if low else None


@dataclass(frozen=True, eq=False)
class Space:
    """All schedules of one kernel for one layer.

    `knobs` are the values that each knob may take, neighbours next to each other. `default` is the schedule
    chosen without tuning. `make` builds a schedule from knobs by name; `legal` tells whether it fits the
    layer and the registers, and is not another schedule's equal; `features` are numbers that a schedule
    implies for this layer, by name, for a cost model. `zeros_matter` tells whether the kernel skips them,
    so that what is best depends on where they are.
    """

    kernel: str
    knobs: Mapping[str, tuple[KnobValue, ...]]
    default: KernelSchedule
    make: Callable[..., KernelSchedule]
    legal: Callable[[Any], bool]
    features: Callable[[Any], dict[str, float]]
    zeros_matter: bool = False

    def read(self, point: Mapping[str, KnobValue]) -> KernelSchedule:
        """The schedule of a point written down elsewhere; knobs that it lacks have the record's default.

        Raises SparsegenError for a knob that is not there or is missing without such a default, for a value
        of another type, and for a point that is not legal here.
        """
        unknown = sorted(set(point) - set(self.knobs))
        if unknown:
            raise ScheduleError(
                f"{self.kernel} kernels have no knob {', '.join(unknown)}; there are {', '.join(self.knobs)}"
            )
        for name, value in point.items():
            if type(value) not in map(type, self.knobs[name]):
                raise ScheduleError(f"{self.kernel} kernels have no {name} of {value!r}")
        try:
            schedule = self.make(**point)
        except TypeError as error:
            raise ScheduleError(f"the schedule {dict(point)} lacks knobs: {error}") from error
        if not self.legal(schedule):
            raise ScheduleError(f"the schedule {dict(point)} is not legal for this layer")
        return schedule

    def schedules(self) -> Iterator[KernelSchedule]:
        """Every legal schedule, in the order of the knobs."""
        for values in itertools.product(*self.knobs.values()):
            schedule = self.make(**dict(zip(self.knobs, values, strict=True)))
            if self.legal(schedule):
                yield schedule
