"""Stages that are quickly had: what a plan has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.hetero.stages.search import FoundStage, Terms
from sparsegen.hetero.stages.units import Unit


def greedy(units: Sequence[Unit], terms: Terms) -> list[FoundStage]:
    """All units that are ready, again and again, dealt to threads: the longest first, where most is free."""
    return _in_waves(units, terms, balanced=True)


def a_branch_a_thread(units: Sequence[Unit], terms: Terms) -> list[FoundStage]:
    """All units that are ready, again and again, dealt to threads in turn, whatever they take."""
    return _in_waves(units, terms, balanced=False)


def _in_waves(units: Sequence[Unit], terms: Terms, *, balanced: bool) -> list[FoundStage]:
    done: set[int] = set()
    stages: list[FoundStage] = []
    while len(done) < len(units):
        ready = [at for at, unit in enumerate(units) if at not in done and done.issuperset(unit.reads)]
        stages.append(_wave(ready, units, terms, balanced=balanced))
        done.update(ready)
    return stages


def _wave(ready: list[int], units: Sequence[Unit], terms: Terms, *, balanced: bool) -> FoundStage:
    team = terms.threads
    if len(ready) == 1 or team == 1:
        seconds = sum(units[unit].seconds[team] for unit in ready)
        return FoundStage((tuple(ready),), (team,), seconds)
    loads, groups = [0.0] * team, [list[int]() for _ in range(team)]
    order = sorted(ready, key=lambda unit: -units[unit].seconds[1]) if balanced else ready
    for place, unit in enumerate(order):
        at = min(range(team), key=loads.__getitem__) if balanced else place % team
        loads[at] += units[unit].seconds[1]
        groups[at].append(unit)
    used = [tuple(group) for group in groups if group]
    return FoundStage(tuple(used), (1,) * len(used), max(loads) * terms.slowdown + terms.meeting)
