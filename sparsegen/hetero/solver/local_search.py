"""Local search: late acceptance over placements and orders, seeded, with a given amount of work.

A move puts a task, or a connected piece of the graph, on another device, or shifts a task to another place of the order
between what it reads and what reads it, or both. A neighbour is taken when it is no worse than the present
schedule, or than the one some hundred moves before (Burke and Bykov, 2017). It is timed from its first
changed position on, and given up as soon as a task's end and its tail are past what would be taken.
"""

from __future__ import annotations

import time
from random import Random

from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.instance import NEVER, Instance, Order, Placement
from sparsegen.hetero.solver.moves import Mover
from sparsegen.hetero.solver.retime import Timeline, fits_memory

_MEMORY = 100  # moves that late acceptance looks back
_STALE = 4_000  # moves without a better schedule after which the search goes back to the best one
_CHECK = 64  # moves between two looks at the clock


def improve(
    instance: Instance,
    start: Candidate,
    tail: list[list[float]],
    *,
    bound: float,
    work: int,
    seed: int = 0,
    until: float = NEVER,
) -> Candidate:
    """The best schedule found from `start` on, which it never is worse than.

    work: tasks to time, over all moves. until: a time of `time.monotonic`. Ends early where `bound` is met.
    """
    search = _Search(instance, start, tail, Random(seed))
    moves = 0
    while search.work < work and search.best > bound * (1 + ROUNDING):
        search.move()
        moves += 1
        if moves % _CHECK == 0 and time.monotonic() > until:
            break
    if search.best >= start.timeline(instance).makespan() * (1 - ROUNDING):
        return start
    return Candidate.of(search.best_placement, search.best_order, "local search")


class _Search:
    def __init__(self, instance: Instance, start: Candidate, tail: list[list[float]], random: Random) -> None:
        self._instance = instance
        self._mover = Mover(instance, random)
        self._time = _Sends(instance) if instance.exclusive_links else _Times(instance, tail)
        self.best_placement, self.best_order = list(start.placement), start.order
        self.work, self._since = 0, 0
        self._return()
        self.best = self._now
        self._history = [self.best] * _MEMORY
        self._turn = 0

    def move(self) -> None:
        """Try one move."""
        self._since += 1
        if self._since > _STALE:
            self._since = 0
            self._return()
            self._history = [self.best] * _MEMORY
        proposed = self._mover.propose(self._placement, self._order)
        self.work += 4  # what a move costs beside the timing
        if proposed is None:
            return
        placement, order, first = proposed
        if self._instance.has_memory and not fits_memory(self._instance, placement):
            return
        self._turn = (self._turn + 1) % _MEMORY
        limit = max(self._now, self._history[self._turn])
        makespan = self._time.timed(placement, order, first, limit)
        self.work += self._time.worked
        if makespan <= limit:
            self._time.take()
            self._placement, self._order, self._now = placement, order, makespan
            if makespan < self.best * (1 - ROUNDING):
                self.best, self._since = makespan, 0
                self.best_placement, self.best_order = list(placement), list(order)
        self._history[self._turn] = self._now

    def _return(self) -> None:
        self._placement, self._order = list(self.best_placement), list(self.best_order)
        self._now = self._time.timed(self._placement, self._order, 0, NEVER)
        self._time.take()


class _Times:
    """Makespans by the equations of `retime`, without exclusive links, from the first changed position on."""

    def __init__(self, instance: Instance, tail: list[list[float]]) -> None:
        self._instance, self._tail = instance, tail
        self._cached = [size < NEVER for size in instance.cache]
        self._ends = [0.0] * instance.count
        self._states = [([0.0] * instance.devices, [0] * instance.devices)] * (instance.count + 1)
        self.worked = 0

    def timed(self, placement: Placement, order: Order, first: int, limit: float) -> float:
        """The makespan of an order that is the one taken last up to `first`; NEVER where it is past `limit`."""
        instance = self._instance
        reads, delay, seconds, invocation = (
            instance.reads, instance.delay, instance.seconds, instance.invocation,
        )  # fmt: skip
        tail, streams = self._tail, instance.has_stores
        ends, states = self._ends.copy(), self._states[:first]
        free, held = (list(each) for each in self._states[first])
        self._new = ends, states
        for position in range(first, instance.count):
            task = order[position]
            device = placement[task]
            if streams:
                states.append((free.copy(), held.copy()))
            else:
                states.append((free.copy(), held))
            end, remote = free[device], not reads[task]
            for read in reads[task]:
                source, arrival = placement[read], ends[read]
                if source != device:
                    arrival += delay[read][source][device]
                    remote = True
                if arrival > end:
                    end = arrival
            end += seconds[task][device]
            if remote:
                end += invocation[task][device]
            if streams:
                end += self._streaming(task, device, held)
            if end + tail[task][device] > limit:
                self.worked = position - first
                return NEVER
            ends[task] = free[device] = end
        self.worked = instance.count - first
        states.append((free, held))
        return max(free)

    def _streaming(self, task: int, device: int, held: list[int]) -> float:
        before, instance = held[device], self._instance
        held[device] += instance.weights[task]
        if not self._cached[device]:
            return 0.0
        cache = instance.cache[device]
        return (max(0.0, held[device] - cache) - max(0.0, before - cache)) * instance.stream[device]

    def take(self) -> None:
        """Go on from what was timed last."""
        self._ends, self._states = self._new


class _Sends:
    """Makespans where links are exclusive: all of it by a timeline."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.worked = 3 * instance.count

    def timed(self, placement: Placement, order: Order, first: int, limit: float) -> float:
        """As of `_Times`."""
        timeline = Timeline(self._instance)
        for task in order:
            timeline.append(task, placement[task])
        makespan = timeline.makespan()
        return makespan if makespan <= limit else NEVER

    def take(self) -> None:
        """As of `_Times`."""
