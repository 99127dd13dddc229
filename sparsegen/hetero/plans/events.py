"""What happened when, simulated or executed: operators and transfers of a stream of inputs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from sparsegen.hetero.plans.plan import Plan

K = TypeVar("K")


class Event(NamedTuple):
    """An operator that ran for one input, or its result's transfer; in seconds from the first input's start.

    device: where it ran, or where the transfer came from; `target`: where that went, "" for an operator.
    lane: number of the lane of that device.
    """

    kind: Literal["operator", "transfer"]
    operator: str
    device: str
    target: str
    lane: int
    input: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.end - self.start


@dataclass(frozen=True)
class Timeline:
    """The events of a stream, by their starts; and when each input was let in, and all done with it.

    rhythm: inputs after which what happens may repeat: see `rhythm_of`. tail: inputs at the end that devices
    may get done sooner, as none comes after them that they would interleave: see `tail_of`.
    """

    events: tuple[Event, ...]
    admitted: tuple[float, ...]
    finished: tuple[float, ...]
    rhythm: int = 1
    tail: int = 0

    @property
    def makespan(self) -> float:
        """Seconds of the first input, from its admission; 0 for a stream without inputs."""
        return self.finished[0] - self.admitted[0] if self.finished else 0.0

    @property
    def period(self) -> float:
        """Seconds between two results, over the latter half of the stream: whole rhythms, if it has any.

        Without the tail, if the stream is longer than twice that. The makespan where there is one input
        alone.
        """
        count = len(self.finished)
        if count < 2:
            return self.makespan
        count -= self.tail if count > 2 * self.tail + 1 else 0
        window = count // 2 // self.rhythm * self.rhythm or count // 2
        ordered = sorted(self.finished)[:count]
        return (ordered[-1] - ordered[-1 - window]) / window

    @property
    def latency(self) -> float:
        """Seconds from an input's admission to its end: the median of the latter half."""
        both = zip(self.admitted, self.finished, strict=True)
        each = [end - start for start, end in both][len(self.finished) // 2 :]
        return statistics.median(each) if each else 0.0

    def operator_seconds(self) -> dict[str, float]:
        """The median time of each operator, by name."""
        return _medians((each.operator, each.seconds) for each in self._of("operator"))

    def transfer_seconds(self) -> dict[tuple[str, str, str], float]:
        """The median time of each transfer, by operator, source and target."""
        return _medians(((e.operator, e.device, e.target), e.seconds) for e in self._of("transfer"))

    def _of(self, kind: str) -> Iterator[Event]:
        return (each for each in self.events if each.kind == kind)


def rhythm_of(plan: Plan, depth: int | None = None) -> int:
    """Inputs after which a steady state may repeat: copies take turns, and so do inputs under way."""
    return math.lcm(len(plan.replicas), depth or plan.depth)


def tail_of(plan: Plan, depth: int | None = None) -> int:
    """Inputs that are under way when the last one has been let in, where devices take turns."""
    return (depth or plan.depth) if plan.turns else 0


def _medians(pairs: Iterable[tuple[K, float]]) -> dict[K, float]:
    found: dict[K, list[float]] = {}
    for name, seconds in pairs:
        found.setdefault(name, []).append(seconds)
    return {name: statistics.median(seconds) for name, seconds in found.items()}
