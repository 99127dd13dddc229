"""A planned graph as units, of which stages are made: chains of layers, with their times by threads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparsegen.graph import LayerGraph
from sparsegen.kernels.conversions import plain_values

Times = Mapping[str, Mapping[int, float]]
"""Seconds of layers, by name and number of threads."""


@dataclass(frozen=True)
class Unit:
    """Layers in a row, where each is the only one that reads the one before it.

    seconds: by number of threads. reads: the units, by number, whose values it reads; all come before it.
    """

    layers: tuple[str, ...]
    seconds: Mapping[int, float]
    reads: tuple[int, ...]


def units_of(graph: LayerGraph, times: Times, *, longest: float) -> list[Unit]:
    """The units of a planned graph's layers that may be in stages, in the order of their first layers.

    A chain is cut where a unit would take more than `longest` seconds on one thread, so that stages can be
    balanced; `times` have every layer, each for the same numbers of threads.
    """
    plain = plain_values(graph) | graph.inputs.keys()
    layers = {
        layer.name: layer
        for layer in graph.layers
        if layer.name not in plain and plain.isdisjoint(layer.reads())
    }
    sources = {name: [each for each in layer.reads() if each in layers] for name, layer in layers.items()}
    readers: dict[str, set[str]] = {name: set() for name in layers}
    for layer in graph.layers:
        for source in layer.reads():
            if source in readers:
                readers[source].add(layer.name)
    chains: list[list[str]] = []
    chain_of: dict[str, int] = {}
    for name in layers:
        before = set(sources[name])
        tail = next(iter(before)) if len(before) == 1 else None
        if tail is not None and readers[tail] == {name}:
            chain = chains[chain_of[tail]]
            if sum(min(times[each].values()) for each in (*chain, name)) <= longest:
                chain_of[name] = chain_of[tail]
                chain.append(name)
                continue
        chain_of[name] = len(chains)
        chains.append([name])
    return [
        Unit(
            tuple(chain),
            _summed([times[name] for name in chain]),
            tuple(sorted({chain_of[each] for name in chain for each in sources[name]} - {number})),
        )
        for number, chain in enumerate(chains)
    ]


def blocks_of(units: Sequence[Unit]) -> list[range]:
    """Runs of units that no stage crosses, whatever the times.

    The last unit of a block reads, over others, all units before it, and all units after it read it.
    """
    ancestors = _ancestors(units)
    count = len(units)
    last_free = [number for number in range(count) if ancestors[number] != (1 << number) - 1]
    read_by_all = [
        all(ancestors[later] >> number & 1 for later in range(number + 1, count)) for number in range(count)
    ]
    ends = [n + 1 for n in range(count) if n not in last_free and read_by_all[n]]
    return _ranges([0, *ends, count])


def parts_of(units: Sequence[Unit], block: range, most: int) -> list[range]:
    """A block in runs of at most so many units, cut behind those that join all before them in their run.

    Stages of the runs, one after the other, may take longer than those of the block.
    """
    if len(block) <= most:
        return [block]
    ancestors = _ancestors(units)
    ends = [block.start]
    for number in block:
        since = sum(1 << each for each in range(ends[-1], number))
        joins = len(units[number].reads) > 1 and ancestors[number] & since == since
        if joins or number + 1 - ends[-1] == most:
            ends.append(number + 1)
    return _ranges([*ends, block.stop])


def _ancestors(units: Sequence[Unit]) -> list[int]:
    """What each unit reads, over others too, a bit each."""
    found: list[int] = []
    for unit in units:
        mask = 0
        for source in unit.reads:
            mask |= found[source] | 1 << source
        found.append(mask)
    return found


def _ranges(ends: Sequence[int]) -> list[range]:
    return [range(begin, end) for begin, end in itertools.pairwise(sorted(set(ends))) if begin < end]


def _summed(times: Sequence[Mapping[int, float]]) -> dict[int, float]:
    return {threads: sum(each[threads] for each in times) for threads in times[0]}
