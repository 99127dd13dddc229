"""Local search: simulated annealing over placements and orders, seeded, with a given amount of work.

A move puts a task, or a connected piece of the graph, on another device, or shifts a task to another place of
the order between what it reads and what reads it, or both. A neighbour is taken when its makespan is at most
the present one - T log(u), u random in (0, 1): so the limit is known before the neighbour is timed. It is
timed from its first changed position on, and given up as soon as a task's end and its tail are past the
limit. The temperature T falls geometrically, in several rounds; each starts from the best schedule so far.
"""

from __future__ import annotations

import math
import time
from random import Random

from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.instance import NEVER, Instance, Order, Placement
from sparsegen.hetero.solver.moves import Mover
from sparsegen.hetero.solver.retime import Timeline, fits_memory

_HOT, _COLD = 0.15, 0.005  # temperatures, in mean times of a task
_ROUNDS = 3
_CHECK = 64  # moves between two looks at the clock
_OVERHEAD = 4  # tasks that could be timed while a move is made


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
    for _ in range(_ROUNDS):
        search.anneal(work // _ROUNDS, bound * (1 + ROUNDING), until)
    if search.best >= start.timeline(instance).makespan() * (1 - ROUNDING):
        return start
    return Candidate.of(search.best_placement, search.best_order, "local search")


class _Search:
    def __init__(self, instance: Instance, start: Candidate, tail: list[list[float]], random: Random) -> None:
        self._instance, self._random = instance, random
        self._mover = Mover(instance, random)
        self._time = _Sends(instance) if instance.bus_names else _Times(instance, tail)
        self.best_placement, self.best_order, self.best = list(start.placement), start.order, NEVER
        self._placement, self._order, self._now = self.best_placement, self.best_order, NEVER
        self._return()
        self.best = self._now

    def anneal(self, work: int, enough: float, until: float) -> None:
        """Search from the best schedule so far on, hot at first, until so many tasks were timed."""
        self._return()
        hot, cooling = _HOT * self._mean_seconds(), math.log(_COLD / _HOT)
        done = moves = 0
        while done < work and self.best > enough:
            temperature = hot * math.exp(cooling * done / work)
            done += self._move(self._now - temperature * math.log(1 - self._random.random()))
            moves += 1
            if moves % _CHECK == 0 and time.monotonic() > until:
                break

    def _move(self, limit: float) -> int:
        """Try one move, and take it within the limit; how many tasks were timed."""
        proposed = self._mover.propose(self._placement, self._order)
        if proposed is None:
            return _OVERHEAD
        placement, order, first = proposed
        if self._instance.has_memory and not fits_memory(self._instance, placement):
            return _OVERHEAD
        makespan = self._time.timed(placement, order, first, limit)
        if makespan <= limit:
            self._time.take()
            self._placement, self._order, self._now = placement, order, makespan
            if makespan < self.best * (1 - ROUNDING):
                self.best = makespan
                self.best_placement, self.best_order = list(placement), list(order)
        return self._time.worked + _OVERHEAD

    def _mean_seconds(self) -> float:
        seconds = self._instance.seconds
        return sum(seconds[task][device] for task, device in enumerate(self._placement)) / len(seconds)

    def _return(self) -> None:
        self._placement, self._order = list(self.best_placement), list(self.best_order)
        self._now = self._time.timed(self._placement, self._order, 0, NEVER)
        self._time.take()


class _Times:
    """Makespans by the equations of `retime`, without buses, from the first changed position on."""

    def __init__(self, instance: Instance, tail: list[list[float]]) -> None:
        self._instance, self._tail = instance, tail
        self._cached = [size < NEVER for size in instance.cache]
        self._ends = [0.0] * instance.count
        self._states = [([0.0] * instance.devices, [0] * instance.devices)] * (instance.count + 1)
        self.worked = 0

    def timed(self, placement: Placement, order: Order, first: int, limit: float) -> float:
        """The makespan of an order like the one taken last up to `first`; NEVER where it is past `limit`."""
        instance = self._instance
        reads, delay, seconds, invocation = (
            instance.reads, instance.delay, instance.seconds, instance.invocation,
        )  # fmt: skip
        tail, streams = self._tail, instance.has_stores
        ends, states = self._ends.copy(), self._states[:first]
        free, held = self._states[first][0].copy(), self._states[first][1].copy()
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
    """Makespans where there are buses: all of it by a timeline."""

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
