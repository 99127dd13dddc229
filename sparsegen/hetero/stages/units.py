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
    """Runs of units that no stage has to cross.

    The last unit of a block depends on every unit before it, so nothing could run beside it but what comes
    later in the order.
    """
    ancestors: list[int] = []
    ends = [0]
    for number, unit in enumerate(units):
        mask = 0
        for source in unit.reads:
            mask |= ancestors[source] | 1 << source
        ancestors.append(mask)
        if mask == (1 << number) - 1:
            ends.append(number + 1)
    if ends[-1] != len(units):
        ends.append(len(units))
    return [range(begin, end) for begin, end in itertools.pairwise(ends)]


def _summed(times: Sequence[Mapping[int, float]]) -> dict[int, float]:
    return {threads: sum(each[threads] for each in times) for threads in times[0]}
