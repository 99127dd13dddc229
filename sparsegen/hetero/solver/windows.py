"""A periodic schedule of the same period and a shorter latency: windows of one input, a period apart.

A schedule that fills a device to the brim has places that no order of one input led to: what waits for
another chore may miss its place by a little, and then waits for a whole period, again and again along a long
way. So the chores of one input are cut into windows, by when they start at the earliest; all windows run in
each period, each for an input of its own, as independent of each other as inputs are. What waits for a chore
of its own window comes after it in the period; what waits for one of an earlier window has it from the period
before. An input then takes as many periods as there are windows: the fewest are taken whose chores a list
schedule, the longest way to the window's end first, gets into one period.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence

import networkx as nx

from sparsegen.hetero.solver.chores import EXACTLY, Chores, Wait
from sparsegen.hetero.solver.cycles import least_starts

_MOST = 64  # windows that are tried


def shortened(chores: Chores, period: float, starts: list[float]) -> list[float]:
    """The starts of a schedule of this period with less latency; the given ones where none is found."""
    if period <= 0:
        return starts
    tasks = len(starts) - len(chores.sends)  # what they wait for is no part of the latency

    def takes(found: Sequence[float]) -> float:
        return latency(found[:tasks], chores.seconds[:tasks])

    best = takes(starts)
    now = [wait for wait in chores.waits if not wait.back]
    graph: nx.DiGraph[int] = nx.DiGraph((wait.before, wait.after) for wait in now)
    graph.add_nodes_from(range(len(starts)))
    order = list(nx.topological_sort(graph))
    earliest = _earliest(order, now)
    longest = max(start + seconds for start, seconds in zip(earliest, chores.seconds, strict=True))
    count = max(1, math.ceil(longest / period * (1 - EXACTLY)))
    while count <= min(_MOST, best / period):
        window = [min(count - 1, int(start / longest * count)) for start in earliest]
        places = _in_one_period(chores, window, order, period)
        if places is not None:
            found = [place + period * at for place, at in zip(places, window, strict=True)]
            if _keeps(chores.waits, found, period):
                waits = [*chores.waits, *chores.in_turn(found, period)]
                tight = least_starts(len(found), waits, period)
                return min((starts, found, tight), key=takes)
        count += max(1, count // 4)
    return starts


def latency(starts: Sequence[float], seconds: Sequence[float]) -> float:
    """From the first start to the last end."""
    return max(start + long for start, long in zip(starts, seconds, strict=True)) - min(starts)


def _earliest(order: Sequence[int], waits: Sequence[Wait]) -> list[float]:
    """The starts of one input's chores, as if each had a device of its own."""
    starts = [0.0] * len(order)
    before = _by(waits, lambda wait: wait.after)
    for chore in order:
        starts[chore] = max((starts[w.before] + w.seconds for w in before.get(chore, ())), default=0.0)
    return starts


def _in_one_period(
    chores: Chores, window: Sequence[int], order: Sequence[int], period: float
) -> list[float] | None:
    """Places in a period for the chores of all windows, by a list schedule; None where they do not fit."""
    within = [w for w in chores.waits if not w.back and window[w.before] == window[w.after]]
    after = _by(within, lambda wait: wait.before)
    rest = list(chores.seconds)  # the longest way to the window's end
    for chore in reversed(order):
        rest[chore] = max([rest[chore], *(w.seconds + rest[w.after] for w in after.get(chore, ()))])
    left = Counter(wait.after for wait in within)
    places, free = [0.0] * len(window), dict[int, float]()
    heap = [(0.0, -rest[chore], chore) for chore in range(len(window)) if not left[chore]]
    heapq.heapify(heap)
    while heap:
        ready, longest_first, chore = heapq.heappop(heap)
        start = max([ready, *(free.get(each, 0.0) for each in chores.takes[chore])])
        if start > ready:
            heapq.heappush(heap, (start, longest_first, chore))
            continue
        end = start + chores.seconds[chore]
        if end > period * (1 + EXACTLY):
            return None
        places[chore] = start
        free.update(dict.fromkeys(chores.takes[chore], end))
        for wait in after.get(chore, ()):
            places[wait.after] = max(places[wait.after], start + wait.seconds)  # until it has its own
            left[wait.after] -= 1
            if not left[wait.after]:
                heapq.heappush(heap, (places[wait.after], -rest[wait.after], wait.after))
    return places


def _keeps(waits: Sequence[Wait], starts: Sequence[float], period: float) -> bool:
    """Whether starts keep to all waits: ways between windows, and to the next input, may be too long."""
    slack = EXACTLY * period
    return all(starts[w.after] >= starts[w.before] + w.seconds - w.back * period - slack for w in waits)


def _by(waits: Sequence[Wait], key: Callable[[Wait], int]) -> dict[int, list[Wait]]:
    found: dict[int, list[Wait]] = {}
    for wait in waits:
        found.setdefault(key(wait), []).append(wait)
    return found
