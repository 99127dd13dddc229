"""The least period, exactly: depth-first branch and bound over the tasks' devices, in the problem's order.

A branch ends where one of these, of the tasks placed so far, is past the best period: a device's load;
the cycle of a device that waits for itself (see `steady`); or the priced load, with the rest where it is
fastest (see `bounds`). Where the bound equals the best period, the branch
ends if its latency cannot be less.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from sparsegen.hetero.solver.bounds import ROUNDING, best_prices, least_work, tails
from sparsegen.hetero.solver.instance import NEVER, Instance, Placement
from sparsegen.hetero.solver.places import Places
from sparsegen.hetero.solver.steady import Steady, steady


@dataclass(frozen=True)
class Assigned:
    """The best placement, its steady state, and whether the search ended: then there is no better one."""

    placement: Placement
    state: Steady
    complete: bool


def assign(instance: Instance, start: Placement, *, most_nodes: int, until: float = NEVER) -> Assigned:
    """Search for a placement better than `start`, in so many nodes, until a time of `time.monotonic`."""
    search = _Search(instance, start, most_nodes, until)
    search.extend(0)
    return Assigned(search.best, search.state, not search.cut_short)


class _Search:
    def __init__(self, instance: Instance, start: Placement, most_nodes: int, until: float) -> None:
        self._instance, self._nodes_left, self._until = instance, most_nodes, until
        self.cut_short = False
        self.best, self.state = list(start), steady(instance, start)
        self._places, self._tails = Places(instance), tails(instance)
        self._placement = [-1] * instance.count
        work = least_work(instance)
        best, _ = best_prices(work)
        self._prices = np.array(
            [best, *np.eye(instance.devices), np.full(instance.devices, 1 / instance.devices)]
        )
        with np.errstate(invalid="ignore"):
            priced = np.where(np.isfinite(work)[None], self._prices[:, None] * work[None], NEVER).min(axis=2)
        # of task and of all after it
        self._rest = np.concatenate(
            [np.cumsum(priced[:, ::-1], axis=1)[:, ::-1], np.zeros((len(priced), 1))], axis=1
        )
        self._loads, self._held = [0.0] * instance.devices, [0] * instance.devices
        # Of each task, the longest ways to its end: from each device's first start, and from the input's.
        self._ways: list[list[float]] = []

    def extend(self, task: int) -> None:
        """Place a task and those after it in every way that may be better."""
        instance = self._instance
        self._nodes_left -= 1
        self.cut_short |= self._nodes_left < 0 or time.monotonic() > self._until
        if self.cut_short:
            return
        if task == instance.count:
            self._finish()
            return
        unit = instance.unit_of[task]
        first = self._places.unit_device[unit] < 0
        for device in sorted(
            self._places.of(task), key=lambda each: self._loads[each] + instance.seconds[task][each]
        ):
            seconds = self._seconds(task, device)
            self._places.put(task, device)
            self._placement[task] = device
            load = self._loads[device]
            self._loads[device] += seconds
            self._held[device] += instance.weights[task]
            self._ways.append(self._way(task, device, seconds))
            if self._may_be_better(task, device):
                self.extend(task + 1)
            self._ways.pop()
            self._held[device] -= instance.weights[task]
            self._loads[device] = load
            self._placement[task] = -1
            if first:
                self._places.take(unit)

    def _seconds(self, task: int, device: int) -> float:
        instance = self._instance
        reads, seconds = instance.reads[task], instance.seconds[task][device]
        if not reads or any(self._placement[read] != device for read in reads):
            seconds += instance.invocation[task][device]
        cache, held = instance.cache[device], self._held[device]
        if cache < NEVER:
            past = max(0.0, held + instance.weights[task] - cache) - max(0.0, held - cache)
            seconds += past * instance.stream[device]
        return seconds

    def _way(self, task: int, device: int, seconds: float) -> list[float]:
        """The longest ways to a task's end."""
        width = self._instance.devices
        passing = self._instance.passing
        earlier = (each for each in reversed(range(task)) if not passing[each])
        before = next((each for each in earlier if self._placement[each] == device), None)
        if passing[task]:
            way = [0.0 if each == width else -NEVER for each in range(width + 1)]
        elif before is None:
            way = [0.0 if each in (device, width) else -NEVER for each in range(width + 1)]
        else:
            way = self._ways[before]
        for read in self._instance.reads[task]:
            delay = self._instance.delay[read][self._placement[read]][device]
            way = [max(a, b + delay) for a, b in zip(way, self._ways[read], strict=True)]
        return [each + seconds for each in way]

    def _may_be_better(self, task: int, device: int) -> bool:
        way = self._ways[-1]
        bound = max(*self._loads, 0.0 if self._instance.passing[task] else way[device])
        bound = max(
            bound, float((self._prices @ self._loads + self._rest[:, task + 1]).max()) * (1 - ROUNDING)
        )
        if bound < self.state.period * (1 - ROUNDING):
            return True
        latency = max(
            ways[-1] + self._tails[each][self._placement[each]] for each, ways in enumerate(self._ways)
        )
        return bound <= self.state.period * (1 + ROUNDING) and latency < self.state.latency * (1 - ROUNDING)

    def _finish(self) -> None:
        state = steady(self._instance, self._placement)
        if is_better(state, self.state):
            self.best, self.state = list(self._placement), state


def is_better(state: Steady, than: Steady) -> bool:
    """Whether a period is shorter, or the same with a shorter latency."""
    if state.period < than.period * (1 - ROUNDING):
        return True
    return state.period <= than.period * (1 + ROUNDING) and state.latency < than.latency * (1 - ROUNDING)
