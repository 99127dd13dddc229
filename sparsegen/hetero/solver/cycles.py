"""Cycles of waits: the least period that they leave, and the starts at a period."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsegen.hetero.solver.bounds import Array
from sparsegen.hetero.solver.chores import EXACTLY, Wait
from sparsegen.hetero.solver.instance import NEVER


def greatest_ratio(count: int, waits: Sequence[Wait], least: float) -> float:
    """The greatest ratio of a cycle's seconds to the inputs that it goes back; `least`, if none is greater.

    From `least` on, the period is raised to the ratio of a cycle that it is too short for, until none is
    left. NEVER where a cycle that takes time goes back none.
    """
    period = least
    while True:
        cycle = _long_cycle(count, waits, period)
        if not cycle:
            return period
        back = sum(wait.back for wait in cycle)
        ratio = sum(wait.seconds for wait in cycle) / back if back > 0 else NEVER
        if not period < ratio < NEVER:
            return max(period, ratio)
        period = ratio


def _long_cycle(count: int, waits: Sequence[Wait], period: float) -> list[Wait]:
    """A cycle that takes longer than the inputs that it goes back; none for a sufficient period."""
    slack = EXACTLY * max([period, *(wait.seconds for wait in waits)])
    starts, came = [0.0] * count, dict[int, Wait]()
    for turn in range(count + 1):
        changed = False
        for wait in waits:
            start = starts[wait.before] + wait.seconds - wait.back * period
            if start > starts[wait.after] + slack:
                starts[wait.after], came[wait.after], changed = start, wait, True
        if not changed:
            return []
        if turn % 4 == 3 or turn == count:
            cycle = _cycle(came)
            if cycle:
                return cycle
    return []


def _cycle(came: dict[int, Wait]) -> list[Wait]:
    """A cycle of the waits by which chores got their starts."""
    seen: dict[int, int] = {}
    for number, first in enumerate(came):
        chore = first
        while chore in came and chore not in seen:
            seen[chore] = number
            chore = came[chore].before
        if seen.get(chore) == number and chore in came:
            cycle, at = [came[chore]], came[chore].before
            while at != chore:
                cycle.append(came[at])
                at = came[at].before
            return cycle
    return []


def ways_between(count: int, waits: Sequence[Wait], period: float) -> Array:
    """How much later than each the others start at least, at a period; -NEVER where one does not wait."""
    ways = np.full((count, count), -NEVER)
    for wait in waits:
        way = wait.seconds - wait.back * period
        ways[wait.before, wait.after] = max(ways[wait.before, wait.after], way)
    np.fill_diagonal(ways, np.maximum(ways.diagonal(), 0.0))
    for middle in range(count):
        np.maximum(ways, ways[:, middle, None] + ways[None, middle], out=ways)
    return ways


def least_starts(count: int, waits: Sequence[Wait], period: float) -> list[float]:
    """The least starts at a period, none below 0."""
    starts = [0.0] * count
    for _ in range(count + 1):
        changed = False
        for wait in waits:
            start = starts[wait.before] + wait.seconds - wait.back * period
            if start > starts[wait.after] + EXACTLY * period:
                starts[wait.after], changed = start, True
        if not changed:
            break
    return starts
