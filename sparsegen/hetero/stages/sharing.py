"""Operators at once on a device whose table says what part of it each fills: what they take together.

A stage is groups of operators, each in order on a stream of its own; the next stage begins when all have
ended (Ding et al., "IOS: inter-operator scheduler for CNN acceleration", MLSys 2021). What runs at once
progresses at min(1, 1 / sum of utilisations) of its speed, as `sparsegen.devices.profile` has it, with
utilisations in shares of the device's capacity. That streams are set up and meet takes no time here; it does
on a real device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sparsegen.hetero.stages.units import Unit

Steps = tuple[tuple[float, float], ...]
"""Seconds that operators take alone, one after the other, and the share of the capacity that each fills."""


@dataclass(frozen=True)
class SharedUnit(Unit):
    """Operators in a row, each the only one that reads the one before: `layers` are their names.

    steps: of each operator.
    """

    steps: Steps = ()

    @classmethod
    def of(cls, names: Iterable[str], reads: Iterable[int], steps: Steps) -> SharedUnit:
        """A unit of operators with their steps."""
        return cls(tuple(names), {1: sum(seconds for seconds, _ in steps)}, tuple(reads), steps)

    @property
    def alone(self) -> float:
        """Seconds, with nothing beside it."""
        return self.seconds[1]

    @property
    def work(self) -> float:
        """Seconds of the whole device."""
        return sum(seconds * share for seconds, share in self.steps)


@dataclass(frozen=True)
class SharedStages:
    """Stages, each the units that run in it, and the seconds of all.

    Units of a stage that depend on each other are one group.
    """

    stages: tuple[tuple[int, ...], ...]
    seconds: float


def in_chains(units: Sequence[SharedUnit]) -> list[SharedUnit]:
    """The units, those in a row as one: each the only one that reads the one before, and reads no other."""
    readers = [0] * len(units)
    for unit in units:
        for read in unit.reads:
            readers[read] += 1
    members: list[list[int]] = []
    chain_of: list[int] = []
    for number, unit in enumerate(units):
        joins = len(unit.reads) == 1 and readers[unit.reads[0]] == 1
        at = chain_of[unit.reads[0]] if joins else len(members)
        if not joins:
            members.append([])
        members[at].append(number)
        chain_of.append(at)
    return [
        SharedUnit.of(
            (name for each in chain for name in units[each].layers),
            sorted({chain_of[read] for each in chain for read in units[each].reads} - {at}),
            tuple(step for each in chain for step in units[each].steps),
        )
        for at, chain in enumerate(members)
    ]


def ends_at_once(groups: Sequence[Steps]) -> list[list[float]]:
    """When each step of each group ends, where all groups begin at once."""
    ends: list[list[float]] = [[] for _ in groups]
    left = [0.0] * len(groups)
    running: list[int] = []
    now = 0.0

    def goes_on(number: int) -> bool:
        """Whether a group has a step that takes time to begin now; those that take none have ended."""
        group, ended = groups[number], ends[number]
        while len(ended) < len(group) and group[len(ended)][0] <= 0:
            ended.append(now)
        if len(ended) == len(group):
            return False
        left[number] = group[len(ended)][0]
        return True

    running = [number for number in range(len(groups)) if goes_on(number)]
    while running:
        asked = sum(groups[number][len(ends[number])][1] for number in running)
        slower = max(1.0, asked)
        step = min(left[number] for number in running)
        now += step * slower
        for number in running:
            left[number] -= step
        over = [number for number in running if left[number] <= 1e-15]
        for number in over:
            ends[number].append(now)
        running = [number for number in running if number not in over or goes_on(number)]
    return ends


def together(groups: Sequence[Steps]) -> float:
    """Seconds until all groups have ended that begin at once."""
    return max((ends[-1] for ends in ends_at_once(groups) if ends), default=0.0)


def sequential(units: Sequence[SharedUnit]) -> SharedStages:
    """One unit after the other."""
    return SharedStages(tuple((each,) for each in range(len(units))), sum(unit.alone for unit in units))


def greedy(units: Sequence[SharedUnit]) -> SharedStages:
    """Every stage has all units that are ready, each on its own (IOS's rival)."""
    done: set[int] = set()
    stages: list[tuple[int, ...]] = []
    seconds = 0.0
    while len(done) < len(units):
        ready = [n for n, unit in enumerate(units) if n not in done and done.issuperset(unit.reads)]
        seconds += together([units[number].steps for number in ready])
        stages.append(tuple(ready))
        done.update(ready)
    return SharedStages(tuple(stages), seconds)


def least_possible(units: Sequence[SharedUnit]) -> tuple[float, float]:
    """Seconds that no stages get below: the work of the whole device, and the longest way."""
    ends: list[float] = []
    for unit in units:
        ends.append(unit.alone + max((ends[read] for read in unit.reads), default=0.0))
    return sum(unit.work for unit in units), max(ends, default=0.0)
