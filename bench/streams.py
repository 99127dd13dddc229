"""Operators of one device at once, in stages: what a stage takes by the device's table, and the best stages.

A stage is groups of operators, each in order on a stream of its own; the next stage begins when all have
ended (Ding et al., "IOS: inter-operator scheduler for CNN acceleration", MLSys 2021). What runs at once
progresses at min(1, capacity / sum of utilisations) of its speed, as `sparsegen.devices.profile` has it. That
streams are set up and meet takes no time here; it does on a real device.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.seed_graphs import Node
from sparsegen.devices import Profile, estimate
from sparsegen.hetero.stages.units import Unit

Steps = tuple[tuple[float, float], ...]
"""Seconds that operators take alone, one after the other, and the share of the device that each fills."""


@dataclass(frozen=True)
class Streamed(Unit):
    """Operators in a row, each the only one that reads the one before."""

    steps: Steps = ()

    @property
    def alone(self) -> float:
        """Seconds, with nothing beside it."""
        return sum(seconds for seconds, _ in self.steps)

    @property
    def work(self) -> float:
        """Seconds of the whole device."""
        return sum(seconds * share for seconds, share in self.steps)


@dataclass(frozen=True)
class Staged:
    """Stages, each the units that run in it; the seconds of all."""

    stages: tuple[tuple[int, ...], ...]
    seconds: float


def units_on(profile: Profile, nodes: Sequence[Node], *, chains: bool = True) -> list[Streamed]:
    """A network's operators as units: chains of them, or each alone."""
    readers = [0] * len(nodes)
    for node in nodes:
        for read in node.reads:
            readers[read] += 1
    members: list[list[int]] = []
    unit_of: list[int] = []
    for number, node in enumerate(nodes):
        joins = chains and len(node.reads) == 1 and readers[node.reads[0]] == 1
        at = unit_of[node.reads[0]] if joins else len(members)
        if not joins:
            members.append([])
        members[at].append(number)
        unit_of.append(at)
    return [
        Streamed(
            layers=tuple(str(number) for number in group),
            seconds={1: sum(seconds for seconds, _ in steps)},
            reads=tuple(sorted({unit_of[read] for n in group for read in nodes[n].reads} - {at})),
            steps=steps,
        )
        for at, group in enumerate(members)
        for steps in [tuple(_step(profile, nodes[number]) for number in group)]
    ]


def _step(profile: Profile, node: Node) -> tuple[float, float]:
    cost = estimate(profile, node.operator)
    return cost.seconds, cost.utilisation


def together(groups: Sequence[Steps], capacity: float = 1.0) -> float:
    """Seconds until all groups have ended that begin at once."""
    waiting = [[step for step in group if step[0] > 0] for group in groups]
    left = [group[0][0] if group else 0.0 for group in waiting]
    at = [0] * len(groups)
    running = [number for number, group in enumerate(waiting) if group]
    now = 0.0
    while running:
        asked = sum(waiting[number][at[number]][1] for number in running)
        speed = min(1.0, capacity / asked)
        step = min(left[number] for number in running)
        now += step / speed
        for number in running:
            left[number] -= step
            if left[number] <= 1e-15:
                at[number] += 1
                left[number] = waiting[number][at[number]][0] if at[number] < len(waiting[number]) else 0.0
        running = [number for number in running if at[number] < len(waiting[number])]
    return now


def sequential(units: Sequence[Streamed]) -> float:
    """Seconds of one operator after the other."""
    return sum(unit.alone for unit in units)


def greedy(units: Sequence[Streamed], capacity: float = 1.0) -> float:
    """Seconds, where every stage has all units that are ready, each on its own (IOS's rival)."""
    done: set[int] = set()
    seconds = 0.0
    while len(done) < len(units):
        ready = [n for n, unit in enumerate(units) if n not in done and done.issuperset(unit.reads)]
        seconds += together([units[number].steps for number in ready], capacity)
        done.update(ready)
    return seconds


def least_possible(units: Sequence[Streamed], capacity: float = 1.0) -> tuple[float, float]:
    """Seconds that no stages get below: the work over the device's capacity, and the longest way."""
    ends: list[float] = []
    for unit in units:
        ends.append(unit.alone + max((ends[read] for read in unit.reads), default=0.0))
    return sum(unit.work for unit in units) / capacity, max(ends)


def best_stages(
    units: Sequence[Streamed], capacity: float = 1.0, *, width: int = 6, most_endings: int = 150
) -> Staged:
    """The quickest stages that are found, block by block.

    A beam over sets of units that are done: of those of one size the `width` best go on. Of a block of at
    most `_FEW` units all endings of a state are looked at, of others `most_endings` that are likely; so with
    few units and a wide beam none is left out.
    """
    found = [_Search(units, block, capacity, width, most_endings).run() for block in blocks(units)]
    stages = tuple(stage for each in found for stage in each.stages)
    return Staged(stages, sum(each.seconds for each in found))


def blocks(units: Sequence[Streamed]) -> list[range]:
    """Runs of units that no stage has to cross: all lead to the last of a run, and that to all after."""
    ancestors: list[int] = []
    for unit in units:
        ancestors.append(_union(ancestors[read] | 1 << read for read in unit.reads))
    after = [(1 << len(units)) - 1] * len(units)  # the ancestors that all later units share
    for number in reversed(range(len(units) - 1)):
        after[number] = after[number + 1] & ancestors[number + 1]
    ends = [n + 1 for n in range(len(units)) if ancestors[n] == (1 << n) - 1 and after[n] >> n & 1]
    ends = list(dict.fromkeys([0, *ends, len(units)]))
    return [range(begin, end) for begin, end in itertools.pairwise(ends)]


def _union(masks: Iterable[int]) -> int:
    return functools.reduce(operator.or_, masks, 0)


_FEW = 12


class _Search:
    """Bits of a mask are the units of one block, in order."""

    def __init__(
        self, units: Sequence[Streamed], block: range, capacity: float, width: int, most_endings: int
    ) -> None:
        self._units = [units[number] for number in block]
        self._first, self._capacity, self._width, self._most = block.start, capacity, width, most_endings
        self._reads = [
            sum(1 << (read - block.start) for read in unit.reads if read in block) for unit in self._units
        ]
        self._readers: list[list[int]] = [[] for _ in self._units]
        for bit, reads in enumerate(self._reads):
            for read in _bits(reads):
                self._readers[read].append(bit)
        self._work = sum(unit.work for unit in self._units) / capacity
        self._prices: dict[int, float] = {}

    def run(self) -> Staged:
        """The stages of the block."""
        count = len(self._units)
        layers: list[dict[int, tuple[float, int]]] = [{} for _ in range(count + 1)]
        layers[0][0] = (0.0, 0)
        came: dict[int, int] = {}
        for layer in layers[:-1]:
            best = sorted(layer, key=lambda done: layer[done][0] + self._remaining(done))[: self._width]
            for done in best:
                for ending in self._endings(done):
                    after, seconds = done | ending, layer[done][0] + self._price(ending)
                    there = layers[after.bit_count()]
                    if after not in there or seconds < there[after][0]:
                        there[after] = seconds, done
                        came[after] = done
        at, stages = (1 << count) - 1, []
        while at:
            stages.append(tuple(self._first + bit for bit in _bits(at & ~came[at])))
            at = came[at]
        return Staged(tuple(stages[::-1]), layers[-1][(1 << count) - 1][0])

    def _remaining(self, done: int) -> float:
        return self._work - sum(self._units[bit].work for bit in _bits(done)) / self._capacity

    def _endings(self, done: int) -> Iterator[int]:
        """Sets of units that read nothing but what is done or in the set."""
        return self._closed(done, 0, 0) if len(self._units) <= _FEW else self._likely(done)

    def _closed(self, done: int, chosen: int, at: int) -> Iterator[int]:
        if at == len(self._reads):
            if chosen:
                yield chosen
            return
        if not done >> at & 1 and self._reads[at] & ~(done | chosen) == 0:
            yield from self._closed(done, chosen | 1 << at, at + 1)
        yield from self._closed(done, chosen, at + 1)

    def _likely(self, done: int) -> Iterator[int]:
        """Some of the units that are ready, the most first, with what follows them, three units deep."""
        ready = [bit for bit in range(len(self._reads)) if self._is_ready(bit, done)]
        seen: set[int] = set()
        sizes = range(len(ready), 0, -1)
        for some in itertools.chain.from_iterable(itertools.combinations(ready, size) for size in sizes):
            chosen, last = 0, set(some)
            for _ in range(3):
                chosen |= _union(1 << bit for bit in last)
                if chosen not in seen:
                    seen.add(chosen)
                    yield chosen
                following = {reader for bit in last for reader in self._readers[bit]}
                last = {bit for bit in following if self._is_ready(bit, done | chosen)}
            if len(seen) >= self._most:
                break
        yield from (1 << bit for bit in ready if 1 << bit not in seen)

    def _is_ready(self, bit: int, done: int) -> bool:
        return not done >> bit & 1 and self._reads[bit] & ~done == 0

    def _price(self, ending: int) -> float:
        """Seconds of a stage: units that depend on each other are one group."""
        if ending not in self._prices:
            groups: list[tuple[int, list[int]]] = []
            for bit in _bits(ending):
                mask, joined, rest = 1 << bit, [bit], []
                for other, members in groups:
                    if other & self._reads[bit]:
                        mask, joined = mask | other, [*members, *joined]
                    else:
                        rest.append((other, members))
                groups = [*rest, (mask, joined)]
            steps = [tuple(step for bit in sorted(m) for step in self._units[bit].steps) for _, m in groups]
            self._prices[ending] = together(steps, self._capacity)
        return self._prices[ending]


def _bits(mask: int) -> Iterator[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def time_weighted(units: Sequence[Streamed]) -> Mapping[str, float]:
    """What share of the device the operators fill on average, and how much of the time the longest way is."""
    alone = sequential(units)
    work, longest = least_possible(units)
    return {"utilisation": work / alone, "longest way": longest / alone}
