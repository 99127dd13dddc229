"""Stages joined where their groups had better hand values over than wait for each other.

Groups of one stage may read what others compute: a unit begins when those that it reads have ended, and the
one before it in its group. A run of stages is joined where a list schedule of all of its units, the one
with the longest way to the end first (the upward rank of HEFT, Topcuoglu et al. 2002), ends earlier than
the stages would one after the other. Which runs, is a shortest path over the stages.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.hetero.stages.search import FoundStage, Terms
from sparsegen.hetero.stages.units import Unit

_LONGEST_RUN = 24  # stages that are joined at most


def joined(units: Sequence[Unit], stages: Sequence[FoundStage], terms: Terms) -> list[FoundStage]:
    """The stages, runs of them joined where that is quicker; each unit on one thread in a joined one."""
    if terms.threads == 1:
        return list(stages)
    best: list[tuple[float, int, FoundStage | None]] = [(0.0, 0, None)]
    for end, last in enumerate(stages, start=1):
        found = (best[end - 1][0] + last.seconds, end - 1, last)
        for begin in range(max(0, end - _LONGEST_RUN), end - 1):
            run = [unit for stage in stages[begin:end] for group in stage.groups for unit in group]
            least = sum(units[unit].seconds[1] for unit in run) / terms.threads * terms.slowdown
            if best[begin][0] + least >= found[0]:
                continue
            stage = list_schedule(run, units, terms)
            if best[begin][0] + stage.seconds < found[0]:
                found = best[begin][0] + stage.seconds, begin, stage
        best.append(found)
    path: list[FoundStage] = []
    at = len(stages)
    while at:
        _, at, reached_by = best[at]
        assert reached_by is not None
        path.append(reached_by)
    return path[::-1]


def list_schedule(run: Sequence[int], units: Sequence[Unit], terms: Terms) -> FoundStage:
    """A stage of units, each on one thread: a group a thread, in the order of their starts."""
    inside = set(run)
    readers: dict[int, list[int]] = {unit: [] for unit in run}
    for unit in run:
        for source in units[unit].reads:
            if source in inside:
                readers[source].append(unit)
    seconds = {unit: units[unit].seconds[1] * terms.slowdown for unit in run}
    rank: dict[int, float] = {}
    for unit in sorted(run, reverse=True):  # units come in an order that runs
        rank[unit] = seconds[unit] + max((rank[each] for each in readers[unit]), default=0.0)
    free = [0.0] * terms.threads
    groups: list[list[int]] = [[] for _ in free]
    ended: dict[int, tuple[float, int]] = {}
    waiting = {unit: sum(source in inside for source in units[unit].reads) for unit in run}
    ready = [unit for unit in run if not waiting[unit]]
    while ready:
        unit = max(ready, key=lambda each: rank[each])
        ready.remove(unit)
        sources = [ended[each] for each in units[unit].reads if each in inside]

        def start(core: int, sources: list[tuple[float, int]] = sources) -> float:
            there = (end + (terms.handover if at != core else 0.0) for end, at in sources)
            return max(free[core], *there) if sources else free[core]

        core = min(range(terms.threads), key=start)
        end = start(core) + seconds[unit]
        ended[unit], free[core] = (end, core), end
        groups[core].append(unit)
        for reader in readers[unit]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    used = [tuple(group) for group in groups if group]
    return FoundStage(tuple(used), (1,) * len(used), max(free) + terms.meeting)
