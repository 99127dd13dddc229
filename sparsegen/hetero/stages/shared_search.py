"""The quickest stages of operators that share a device: a beam over sets of units that are done."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence

from sparsegen.hetero.stages.search import apart
from sparsegen.hetero.stages.sharing import SharedStages, SharedUnit, greedy, in_chains, sequential, together
from sparsegen.hetero.stages.units import blocks_of


def chosen_stages(operators: Sequence[SharedUnit]) -> tuple[list[SharedUnit], SharedStages]:
    """The operators in chains, and the quickest stages of these: found, greedy, or one after the other."""
    units = in_chains(operators)
    rivals = sequential(units), greedy(units), best_stages(units)
    return units, min(rivals, key=lambda each: each.seconds)


def best_stages(units: Sequence[SharedUnit], *, width: int = 6, most_endings: int = 150) -> SharedStages:
    """The quickest stages that are found, block by block.

    A beam over sets of units that are done: of those of one size the `width` best go on. Of a block of at
    most `_FEW` units all endings of a state are looked at, of others `most_endings` that are likely; so with
    few units and a wide beam none is left out.
    """
    found = [_Search(units, block, width, most_endings).run() for block in blocks_of(units)]
    stages = tuple(stage for each in found for stage in each.stages)
    return SharedStages(stages, sum(each.seconds for each in found))


def _union(masks: Iterable[int]) -> int:
    return functools.reduce(operator.or_, masks, 0)


_FEW = 12


class _Search:
    """Bits of a mask are the units of one block, in order."""

    def __init__(self, units: Sequence[SharedUnit], block: range, width: int, most_endings: int) -> None:
        self._units = [units[number] for number in block]
        self._first, self._width, self._most = block.start, width, most_endings
        self._reads = [
            sum(1 << (read - block.start) for read in unit.reads if read in block) for unit in self._units
        ]
        self._readers: list[list[int]] = [[] for _ in self._units]
        for bit, reads in enumerate(self._reads):
            for read in _bits(reads):
                self._readers[read].append(bit)
        self._work = sum(unit.work for unit in self._units)
        self._prices: dict[int, float] = {}

    def run(self) -> SharedStages:
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
        return SharedStages(tuple(stages[::-1]), layers[-1][(1 << count) - 1][0])

    def _remaining(self, done: int) -> float:
        return self._work - sum(self._units[bit].work for bit in _bits(done))

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
            parts = apart(ending, self._reads)
            steps = [tuple(step for bit in part for step in self._units[bit].steps) for part in parts]
            self._prices[ending] = together(steps)
        return self._prices[ending]


def _bits(mask: int) -> Iterator[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
