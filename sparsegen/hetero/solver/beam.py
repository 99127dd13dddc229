"""Beam search: the exact search's labels, of each number of steps only the most promising few.

A label promises the less, the higher its bound, and the priced load of what is done and to be done, are
together. Without a limit of the width it would be exact.
"""

from __future__ import annotations

import heapq
import time

from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.frontier import Frontier
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.labels import Label, Labels
from sparsegen.hetero.solver.remaining import Remaining


def beam(instance: Instance, known: float, *, width: int, until: float = NEVER) -> Candidate | None:
    """The best schedule of a beam of so many labels that is shorter than `known`, if there is one."""
    labels, remaining = Labels(instance), Remaining(instance)
    layer, best, goal = [labels.empty()], known, None
    while layer and time.monotonic() < until:
        frontier = Frontier()
        found: list[tuple[float, int, Label, tuple[object, ...], tuple[float, ...]]] = []
        for label in layer:
            for child in labels.children(label):
                bound = remaining.bound(child, best)
                if bound >= best * (1 - ROUNDING):
                    continue
                if labels.is_whole(child):
                    best, goal = max(child.free), child
                    continue
                key, vector = labels.key(child), labels.vector(child)
                if frontier.add(key, vector):
                    found.append((bound + remaining.mean_load(child), len(found), child, key, vector))
        kept = (each for each in found if frontier.keeps(each[3], each[4]))
        layer = [child for _, _, child, _, _ in heapq.nsmallest(width, kept)]
    return labels.candidate(goal, "beam") if goal is not None else None
