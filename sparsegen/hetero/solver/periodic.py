"""A schedule that repeats itself every period: modulo scheduling of a placement's tasks and transfers.

A chore that starts at s for the first input starts at s + i * period for input i. Devices and buses take one
chore at a time, so that what they are reserved for modulo the period does not overlap. What is bound to each
other by a recurrence has to keep its distances, and is reserved first; all else may be at any place of the
period, for whole periods can be added to its start until what it waits for has come.

Where the order of one input alone, input after input, has the least period, it is taken. Else each chore
takes, at a given period, the earliest place from then on at which all is there. Where that leaves a device or
a bus with gaps that nothing fits into, its chores are packed: in a row, in their order, or, where that does
not fit between what is reserved, the longest first; each into the tightest gap. Without recurrences, and with
one bus a transfer at most, so all periods can be had that no load exceeds. Else periods are tried from the
least one on; and the period of the schedule that was found is reduced to the greatest mean time of a cycle of
its waits. What has a period has its latency shortened last, see `windows`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from sparsegen.hetero.solver.chores import EXACTLY, Chores, Wait
from sparsegen.hetero.solver.cycles import greatest_ratio, least_starts, ways_between
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.reservations import Reservations
from sparsegen.hetero.solver.windows import latency, shortened

_TRIES = 8  # periods between the least one and one input at a time


@dataclass(frozen=True)
class Periodic:
    """A period, and the starts for the first input: of tasks, and of transfers that take a bus."""

    period: float
    starts: list[float]
    sends: dict[tuple[int, int], float]
    seconds: list[float]

    @property
    def latency(self) -> float:
        """From the start of an input to its last task's end."""
        return latency(self.starts, self.seconds)


def periodic(instance: Instance, placement: Sequence[int], least: float) -> Periodic:
    """A periodic schedule of an allowed placement; `least` is a period that none is below."""
    chores = Chores.of(instance, placement)
    period, starts = _schedule(chores, least)
    starts = shortened(chores, period, starts)
    count = instance.count
    sends = dict(zip(chores.sends, starts[count:], strict=True))
    return Periodic(period, starts[:count], sends, chores.seconds[:count])


def period_of(instance: Instance, placement: Sequence[int], least: float) -> float:
    """The period of `periodic`."""
    return _schedule(Chores.of(instance, placement), least)[0]


def is_entangled(instance: Instance) -> bool:
    """Whether a placement's least period may be out of reach."""
    return any(instance.carries) or any(len(taken) > 1 for row in instance.buses for taken in row)


def _schedule(chores: Chores, least: float) -> tuple[float, list[float]]:
    period, starts = _one_at_a_time(chores)
    period, starts = _reduced(chores, period, starts, least)
    if period <= least * (1 + EXACTLY):
        return period, starts
    found = _at_period(chores, least)
    if found is not None:
        return least, found
    low = least
    for _ in range(_TRIES):
        if period <= low * (1 + 1e-3):
            break
        tried = math.sqrt(low * period) if low > 0 else period / 2
        found = _at_period(chores, tried)
        if found is None:
            low = tried
        else:
            period, starts = _reduced(chores, tried, found, least)
    return period, starts


def _one_at_a_time(chores: Chores) -> tuple[float, list[float]]:
    """A schedule of which one input ends before the next begins."""
    order = nx.lexicographical_topological_sort(_graph(chores, [w for w in chores.waits if not w.back]))
    free: dict[int, float] = {}
    starts = [0.0] * len(chores.seconds)
    waits: dict[int, list[Wait]] = {}
    for wait in chores.waits:
        if not wait.back:
            waits.setdefault(wait.after, []).append(wait)
    end = 0.0
    for chore in order:
        ready = [starts[wait.before] + wait.seconds for wait in waits.get(chore, ())]
        start = max([0.0, *ready, *(free.get(each, 0.0) for each in chores.takes[chore])])
        starts[chore] = start
        end = max(end, start + chores.seconds[chore])
        free.update(dict.fromkeys(chores.takes[chore], start + chores.seconds[chore]))
    back = [starts[w.before] + w.seconds - starts[w.after] for w in chores.waits if w.back]
    return max([end, *back]), starts


def _reduced(chores: Chores, period: float, starts: list[float], least: float) -> tuple[float, list[float]]:
    """The least period in the order of a schedule, and its starts then."""
    waits = [*chores.waits, *chores.in_turn(starts, period)]
    reduced = min(period, greatest_ratio(len(starts), waits, least))
    return reduced, least_starts(len(starts), waits, reduced)


def _at_period(chores: Chores, period: float) -> list[float] | None:
    """The starts of a schedule of this period; None where none was found."""
    graph = _graph(chores, chores.waits)
    together = {each: group for group in nx.strongly_connected_components(graph) for each in group}
    for by_slack, longest_first in itertools.product((False, True), repeat=2):
        packed: set[int] = set()
        while True:
            failed = _Attempt(chores, period, packed, by_slack, longest_first).run(graph, together)
            if isinstance(failed, list):
                return failed
            if failed is None or failed in packed:
                break
            packed.add(failed)
    return None


def _graph(chores: Chores, waits: Sequence[Wait]) -> nx.DiGraph[int]:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(chores.seconds)))
    graph.add_edges_from((wait.before, wait.after) for wait in waits)
    return graph


class _Attempt:
    """One try: chores that are bound to each other, then those that are packed, then the others."""

    def __init__(
        self, chores: Chores, period: float, packed: set[int], by_slack: bool, longest_first: bool
    ) -> None:
        self._chores, self._period, self._packed = chores, period, packed
        self._by_slack, self._longest_first = by_slack, longest_first
        self._reserved = Reservations(period)
        self._starts = [NEVER] * len(chores.seconds)  # of what is reserved, but for whole periods
        self._incoming: dict[int, list[Wait]] = {}
        for wait in chores.waits:
            self._incoming.setdefault(wait.after, []).append(wait)

    def run(self, graph: nx.DiGraph[int], together: dict[int, set[int]]) -> list[float] | int | None:
        """All starts; or a resource that had better be packed; or None: there is none."""
        groups = sorted({min(group): group for group in together.values()}.items())
        for _, group in groups:
            if len(group) > 1 and not self._bind(sorted(group)):
                return None
        alone = {each for _, group in groups if len(group) == 1 for each in group}
        for resource in sorted(self._packed):
            if not self._pack(resource, alone):
                return None
        order = nx.DiGraph()
        order.add_nodes_from(min(group) for group in together.values())
        order.add_edges_from(
            (min(together[a]), min(together[b])) for a, b in graph.edges if together[a] is not together[b]
        )
        for first in nx.lexicographical_topological_sort(order):
            failed = self._settle(together[first])
            if failed is not None:
                return failed
        return self._starts

    def _bind(self, group: list[int]) -> bool:
        """Reserve places for chores of a recurrence, at the distances that it demands."""
        chores, number = self._chores, {each: at for at, each in enumerate(group)}
        within = [
            Wait(number[w.before], number[w.after], w.seconds, w.back)
            for after in group
            for w in self._incoming.get(after, ())
            if w.before in number
        ]
        ways = ways_between(len(group), within, self._period)
        low, high = np.full(len(group), -NEVER), np.full(len(group), NEVER)  # starts, by what has its place
        left = np.ones(len(group), dtype=bool)
        for turn in range(len(group)):
            narrow = np.where(left, high - low if turn else 0.0, np.inf)
            at = int(narrow.argmin()) if self._by_slack and turn else int(left.argmax())
            chore, ready = group[at], float(low[at]) if turn else 0.0
            takes, seconds = chores.takes[chore], chores.seconds[chore]
            start = self._reserved.earliest(takes, seconds, ready, float(high[at]))
            if start == NEVER:
                return False
            self._take(chore, start)
            left[at] = False
            low, high = np.maximum(low, start + ways[at]), np.minimum(high, start - ways[:, at])
        return True

    def _pack(self, resource: int, alone: set[int]) -> bool:
        """Reserve places for all chores of a resource without gaps, or in the tightest."""
        chores = self._chores
        users = [each for each in alone if resource in chores.takes[each] and self._starts[each] == NEVER]
        for each in sorted(users, key=lambda one: (-chores.seconds[one] * self._longest_first, one)):
            takes, seconds = chores.takes[each], chores.seconds[each]
            start = self._reserved.tightest(resource, seconds)
            if len(takes) > 1 or start == NEVER:
                start = self._reserved.earliest(takes, seconds, 0.0 if start == NEVER else start)
            if start == NEVER:
                return False
            self._take(each, start)
        return True

    def _settle(self, group: set[int]) -> int | None:
        """Give a chore, or those of a recurrence, their starts; or name the resource that has no place."""
        chores = self._chores
        least = -NEVER if self._starts[min(group)] < NEVER else 0.0
        for each in group:
            for wait in self._incoming.get(each, ()):
                if wait.before not in group:
                    ready = self._starts[wait.before] + wait.seconds - wait.back * self._period
                    least = max(least, ready - (self._starts[each] if self._starts[each] < NEVER else 0.0))
        (first, *others) = sorted(group)
        if not others and self._starts[first] == NEVER:
            start = self._reserved.earliest(chores.takes[first], chores.seconds[first], max(0.0, least))
            if start == NEVER:
                return chores.takes[first][0]
            self._take(first, start)
            return None
        lowest = min(self._starts[each] for each in group)
        later = max(least, -lowest) / self._period if self._period else 0.0
        shift = math.ceil(later * (1 - EXACTLY) - EXACTLY) * self._period
        for each in group:
            self._starts[each] += shift
        return None

    def _take(self, chore: int, start: float) -> None:
        self._starts[chore] = start
        self._reserved.take(self._chores.takes[chore], start, self._chores.seconds[chore])
