"""The least makespan of any DAG: best-first search over down-sets with Pareto dominance, exact where it ends.

A label is a partial schedule, made by appending steps in the order of their starts; a step runs a task, or
sends a result over a bus (an exclusive link is one), for there the order of transfers is a decision too. Its
down-set is the set of tasks done. What the future sees of a label is: when each device, and each bus, is
free; when each result that is still to be read arrives at each device; the weights on each device; and the
start of the last step. All these times count as no earlier than that start, since no later step starts before
it. Of two labels with the same down-set, of which one is nowhere later, the other is dropped. (Where the
device of a result matters beyond its arrival, for `invocation` or for a transfer that is still to be sent,
and where a group has its device, labels are only compared with their like.)

A step that could have started before the last one is not appended: the same steps in another order give a
schedule that is as early everywhere, and earlier on that step's device. (Steps that take no time excepted.)

A label's bound is the greatest of: the ends so far; for each task that can be next on some path, its earliest
end, and its tail after that; for several prices of the devices (see `bounds`), the priced load of what is to
be done, added to the priced times at which the devices are free. The label with the least bound is extended
first, so that the search ends when that bound is not below the best schedule known; the least bound of the
labels left over is a bound of the optimum, should the search be cut short.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass

from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.frontier import Frontier
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.labels import Label, Labels
from sparsegen.hetero.solver.remaining import Remaining


@dataclass(frozen=True)
class Found:
    """The search's outcome: a better candidate, if there was one; a bound; whether the search ended."""

    better: Candidate | None
    bound: float
    complete: bool


def search(instance: Instance, known: float, *, most_labels: int, until: float = NEVER) -> Found:
    """Look for a schedule shorter than `known`, until a time of `time.monotonic`, within so many labels."""
    labels, remaining, frontier = Labels(instance), Remaining(instance), Frontier()
    best, goal = known, None
    count = itertools.count()
    root = labels.empty()
    queue: list[tuple[float, float, int, Label, tuple[float, ...]]] = [
        (remaining.bound(root), 0.0, next(count), root, ())
    ]
    bound, complete = best, True
    while queue:
        least, _, number, label, vector = heapq.heappop(queue)
        if least >= best * (1 - ROUNDING):
            break
        if number > most_labels or time.monotonic() > until:
            bound, complete = least, False
            break
        if not frontier.keeps(labels.key(label), vector):
            continue
        for child in labels.children(label):
            least = remaining.bound(child, best)
            if least >= best * (1 - ROUNDING):
                continue
            if labels.is_whole(child):
                best, goal = max(child.free), child
                continue
            vector = labels.vector(child)
            if frontier.add(labels.key(child), vector):
                heapq.heappush(queue, (least, child.last, next(count), child, vector))
    better = labels.candidate(goal, "exact") if goal is not None else None
    return Found(better, best if complete else min(bound, best), complete)
