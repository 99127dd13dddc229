"""The quickest stages of a model's units: a shortest path over sets of units that are done.

A state is a set of units that are done, closed under what they read; a stage leads to another by an *ending*,
a set of units that may run next; its price is the longest of its groups. Groups are the parts of the ending
that do not depend on each other, packed on shares of the team, the longest first (Ding et al., "IOS: inter-
operator scheduler for CNN acceleration", MLSys 2021, whose states and endings these are).

Assumptions, each a number of `Terms`: a group takes the sum of its units' measured times on its threads;
groups that run at once slow each other down by a factor, for they share memory and clock; a stage of
several groups takes a time more, at which its threads meet. An ending of which the units in a row on all
threads would be as quick is never taken: where nothing is gained, the stages are the sequential program.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sparsegen.hetero.stages.units import Unit, blocks_of, parts_of


@dataclass(frozen=True)
class Terms:
    """What stages cost beside their layers.

    threads: of the whole team. meeting: seconds that a stage of several groups takes more. handover:
    seconds until a group sees what another one has computed. slowdown: of groups that run at once.
    most_groups, most_units: of a stage, at most (IOS: 8 groups of 3). most_endings: that
    are looked at from one state; most_searched: units whose order is searched together. Where there are more,
    the stages may not be the best ones.
    """

    threads: int
    meeting: float = 2e-6
    handover: float = 5e-7
    slowdown: float = 1.0
    most_groups: int = 8
    most_units: int = 24
    most_endings: int = 4000
    most_searched: int = 12


@dataclass(frozen=True)
class FoundStage:
    """Units that run at once, in groups, each in order; with the threads of each, and the seconds of all."""

    groups: tuple[tuple[int, ...], ...]
    threads: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class FoundStages:
    """All stages, in order, the seconds of all together, and whether no better ones are left out."""

    stages: tuple[FoundStage, ...]
    seconds: float
    exact: bool


def best_stages(units: Sequence[Unit], terms: Terms) -> FoundStages:
    """The quickest stages, block by block; of blocks of many units, part by part: see `units`."""
    stages: list[FoundStage] = []
    exact = True
    for block in blocks_of(units):
        parts = parts_of(units, block, terms.most_searched)
        exact &= len(parts) == 1
        for part in parts:
            search = _Search(units, part, terms)
            stages += search.run()
            exact &= search.exact
    return FoundStages(tuple(stages), sum(stage.seconds for stage in stages), exact)


def sequential_seconds(units: Sequence[Unit], threads: int) -> float:
    """All units in a row, on all threads."""
    return sum(unit.seconds[threads] for unit in units)


def pack(parts: Sequence[Sequence[int]], units: Sequence[Unit], terms: Terms) -> FoundStage | None:
    """Parts that do not depend on each other as groups of one stage, as quick as longest-first packing gets.

    None for a single part, or where there is but one thread.
    """
    best: FoundStage | None = None
    for count in range(2, min(terms.threads, len(parts), terms.most_groups) + 1):
        shares = [terms.threads // count + (at < terms.threads % count) for at in range(count)]
        if any(share not in units[0].seconds for share in shares):
            continue
        loads = [0.0] * count
        groups: list[list[int]] = [[] for _ in range(count)]
        longest_first = sorted(parts, key=lambda part: -sum(units[u].seconds[1] for u in part))
        for part in longest_first:
            added = [sum(units[u].seconds[share] for u in part) for share in shares]
            at = min(range(count), key=lambda at: loads[at] + added[at])
            loads[at] += added[at]
            groups[at] += part
        if not all(groups):
            continue
        seconds = max(loads) * terms.slowdown + terms.meeting
        if best is None or seconds < best.seconds:
            best = FoundStage(tuple(tuple(sorted(group)) for group in groups), tuple(shares), seconds)
    return best


class _Search:
    """A* from no unit of a block done to all."""

    def __init__(self, units: Sequence[Unit], block: range, terms: Terms) -> None:
        self._units, self._terms = units, terms
        self._block = list(block)
        self._whole = (1 << len(block)) - 1
        self._reads = [
            sum(1 << (source - block.start) for source in units[number].reads if source in block)
            for number in block
        ]
        # No plan uses fewer thread-seconds than each unit's thriftiest share.
        self._least = [
            min(threads * seconds for threads, seconds in units[number].seconds.items()) / terms.threads
            for number in block
        ]
        self.exact = True

    def run(self) -> list[FoundStage]:
        """The stages of the block."""
        reached: dict[int, float] = {0: 0.0}
        came: dict[int, tuple[int, FoundStage]] = {}
        heap = [(self._remaining(0), 0)]
        closed: set[int] = set()
        while heap:
            _, done = heapq.heappop(heap)
            if done == self._whole:
                break
            if done in closed:
                continue
            closed.add(done)
            for ending, stage in self._endings(done):
                after, seconds = done | ending, reached[done] + stage.seconds
                if seconds < reached.get(after, float("inf")):
                    reached[after], came[after] = seconds, (done, stage)
                    heapq.heappush(heap, (seconds + self._remaining(after), after))
        stages = []
        at = self._whole
        while at:
            at, stage = came[at]
            stages.append(stage)
        return stages[::-1]

    def _remaining(self, done: int) -> float:
        """No less than what is left takes, whatever the stages."""
        return sum(least for bit, least in enumerate(self._least) if not done >> bit & 1)

    def _endings(self, done: int) -> Iterator[tuple[int, FoundStage]]:
        """What may run next: one unit on all threads, or several at once where that is quicker."""
        terms, team = self._terms, self._terms.threads
        ready = [b for b, reads in enumerate(self._reads) if not done >> b & 1 and reads & ~done == 0]
        for bit in ready:
            number = self._block[bit]
            yield 1 << bit, FoundStage(((number,),), (team,), self._units[number].seconds[team])
        if team == 1:
            return
        for count, ending in enumerate(self._subsets(done)):
            if count == terms.most_endings:
                self.exact = False
                return
            parts = [[self._block[bit] for bit in part] for part in apart(ending, self._reads)]
            stage = pack(parts, self._units, terms) if len(parts) > 1 else None
            if stage is not None and stage.seconds < sum(
                self._units[number].seconds[team] for part in parts for number in part
            ):
                yield ending, stage

    def _subsets(self, done: int) -> Iterator[int]:
        """Sets of units, two or more, that read nothing but what is done or in the set: the largest first."""
        most = self._terms.most_units

        def grow(at: int, chosen: int, count: int) -> Iterator[int]:
            if at == len(self._reads):
                if count > 1:
                    yield chosen
                return
            free = not done >> at & 1 and self._reads[at] & ~(done | chosen) == 0
            if free and count < most:
                yield from grow(at + 1, chosen | 1 << at, count + 1)
            yield from grow(at + 1, chosen, count)

        yield from grow(0, 0, 0)


def apart(ending: int, reads: Sequence[int]) -> list[list[int]]:
    """The units of an ending, those together that depend on each other; `reads` has a mask for each unit."""
    parts: list[tuple[int, list[int]]] = []
    for unit, sources in enumerate(reads):
        if not ending >> unit & 1:
            continue
        joined, rest = [unit], []
        mask = 1 << unit
        for part_mask, part in parts:
            if part_mask & sources:
                joined = [*part, *joined]
                mask |= part_mask
            else:
                rest.append((part_mask, part))
        parts = [*rest, (mask, joined)]
    return [sorted(part) for _, part in parts]


def chained(stages: Sequence[FoundStage]) -> list[FoundStage]:
    """Stages of one group each, next to each other, as one: threads need not meet between them."""
    merged: list[FoundStage] = []
    for stage in stages:
        last = merged[-1] if merged else None
        if last is not None and len(last.groups) == len(stage.groups) == 1:
            groups = ((*last.groups[0], *stage.groups[0]),)
            merged[-1] = FoundStage(groups, last.threads, last.seconds + stage.seconds)
        else:
            merged.append(stage)
    return merged
