"""The rounds of a stream's plan: whose turn it is on each device, for which input, and the room it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx

from sparsegen.hetero.plans.plan import Turn
from sparsegen.hetero.solver.chores import EXACTLY, in_rounds
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.periodic import Periodic, periodic
from sparsegen.hetero.solver.steady import sent, steady

LEAST_QUEUE = 2
"""Results that wait between two devices at most, where the rounds need no more."""


@dataclass(frozen=True)
class Rounds:
    """How segments, by number, are run in a stream.

    period: of one copy. order: one that runs, in which each device takes those of one input. sends: what
    goes to another device, and where to, in the order of a round, with how many inputs it is behind. turns:
    empty where devices need not interleave inputs. depth: inputs under way in one copy. queue: results on an
    edge.
    """

    period: float
    order: list[int]
    sends: dict[tuple[int, int], int]
    turns: tuple[Turn, ...]
    depth: int
    queue: int


def rounds_of(instance: Instance, placed: Sequence[int], passing: Sequence[bool]) -> Rounds:
    """The rounds of a periodic schedule; those that are `passing` take no turns."""
    found = periodic(instance, placed, steady(instance, placed).period)
    turns: dict[int, list[tuple[int, int]]] = {}
    for device in range(instance.devices):
        here = [v for v in range(instance.count) if placed[v] == device and not passing[v]]
        if here:
            turns[device] = in_rounds(here, found.starts, found.seconds, found.period)
    order = _order(instance, found, turns)
    place = {each: at for at, each in enumerate(order)}
    plain = all(
        not behind and all(place[a] < place[b] for (a, _), (b, _) in pairwise(each))
        for each in turns.values()
        for _, behind in each
    )
    names = instance.names
    told = () if plain else tuple(Turn(names[each], b) for found in turns.values() for each, b in found)
    periods = found.latency / found.period if found.period else 1.0
    depth, queue = 1 + max(1, _periods(periods)), _queue(instance, placed, found)
    return Rounds(found.period, order, _sends(instance, placed, found), told, depth, queue)


def _sends(instance: Instance, placed: Sequence[int], found: Periodic) -> dict[tuple[int, int], int]:
    """The turns of transfers, of all links and buses together."""
    ways = list(sent(instance, placed))
    if not ways:
        return {}
    starts = [found.sends.get(way, found.starts[way[0]] + found.seconds[way[0]]) for way in ways]
    seconds = [instance.delay[task][placed[task]][target] for task, target in ways]
    turns = in_rounds(range(len(ways)), starts, seconds, found.period)
    return {ways[each]: behind for each, behind in turns}


def _order(instance: Instance, found: Periodic, turns: Mapping[int, Sequence[tuple[int, int]]]) -> list[int]:
    """An order of one input that runs, and that keeps to the devices' turns for it."""
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(instance.count))
    graph.add_edges_from((read, task) for task, reads in enumerate(instance.reads) for read in reads)
    for each in turns.values():
        by_input = sorted(range(len(each)), key=lambda at: (each[at][1], at))
        graph.add_edges_from((each[a][0], each[b][0]) for a, b in pairwise(by_input))
    last = instance.count - 1  # the result, which none reads
    return list(
        networkx.lexicographical_topological_sort(graph, key=lambda v: (v == last, found.starts[v], v))
    )


def _queue(instance: Instance, placed: Sequence[int], found: Periodic) -> int:
    """Results that an edge has room for, so that nobody waits; one more is there where one is carried."""
    most = LEAST_QUEUE
    for task, device in enumerate(placed):
        for reads in (instance.reads[task], instance.carries[task]):
            for read in reads:
                if placed[read] != device and found.period:
                    held = found.starts[task] - found.starts[read] - found.seconds[read]
                    most = max(most, _periods(held / found.period))
    return most


def _periods(count: float) -> int:
    return math.ceil(count * (1 - EXACTLY) - EXACTLY)
