"""The least period, exactly: depth-first branch and bound over the tasks' devices, in the problem's order.

A branch ends where one of these, of the tasks placed so far, is past the best period: the load of a device or
of a bus; or the priced load, with the rest where it is fastest (see `bounds`). Where the bound equals the
best period, the branch ends if its latency cannot be less. A placement counts with the period that is reached
under it; where that is not its least one, the least one stays a bound of what may be possible.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from sparsegen.hetero.solver.bounds import ROUNDING, best_prices, least_work, tails
from sparsegen.hetero.solver.instance import NEVER, Instance, Placement
from sparsegen.hetero.solver.periodic import is_entangled, period_of
from sparsegen.hetero.solver.places import Places
from sparsegen.hetero.solver.steady import Steady, steady

ORDER = "the order of what waits for each other"
"""What a period is bound by that is above all loads and recurrences."""


@dataclass(frozen=True)
class Assigned:
    """The best placement, its steady state, a bound of any placement's period; 0: it was cut short."""

    placement: Placement
    state: Steady
    bound: float


def assign(
    instance: Instance, start: Placement, state: Steady, *, most_nodes: int, until: float = NEVER
) -> Assigned:
    """Search for a placement better than one of this state, in nodes, until a time of `time.monotonic`."""
    search = _Search(instance, start, state, most_nodes, until)
    search.extend(0)
    return Assigned(
        search.best, search.state, 0.0 if search.cut_short else min(search.state.period, search.possible)
    )


def reached(instance: Instance, placement: Placement, state: Steady) -> Steady:
    """The state with the period that a schedule was found for: a longer one at times, see `is_entangled`."""
    if state.period == NEVER or not is_entangled(instance):
        return state
    period = period_of(instance, placement, state.period)
    return state if period <= state.period * (1 + ROUNDING) else replace(state, period=period, limit=ORDER)


class _Search:
    def __init__(
        self, instance: Instance, start: Placement, state: Steady, most_nodes: int, until: float
    ) -> None:
        self._instance, self._nodes_left, self._until = instance, most_nodes, until
        self.cut_short, self.possible = False, NEVER
        self.best, self.state = list(start), state
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
        self._bus_loads = [0.0] * len(instance.bus_names)
        self._ends: list[float] = []  # of each task, at the earliest

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
            self._ends.append(self._end(task, device, seconds))
            sent = self._bus_loads.copy()
            self._send(task, device)
            if self._may_be_better(task):
                self.extend(task + 1)
            self._bus_loads = sent
            self._ends.pop()
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

    def _end(self, task: int, device: int, seconds: float) -> float:
        """When a task ends at the earliest, by what it reads."""
        delay, placement = self._instance.delay, self._placement
        ready = (
            self._ends[read] + delay[read][placement[read]][device] for read in self._instance.reads[task]
        )
        return max(ready, default=0.0) + seconds

    def _send(self, task: int, device: int) -> None:
        """Count the transfers to a task, but for what is there for another one."""
        instance, placement = self._instance, self._placement
        for read in instance.reads[task] if self._bus_loads else ():
            source = placement[read]
            if all(each >= task or placement[each] != device for each in instance.readers[read]):
                for bus in instance.buses[source][device]:
                    self._bus_loads[bus] += instance.delay[read][source][device]

    def _may_be_better(self, task: int) -> bool:
        priced = float((self._prices @ self._loads + self._rest[:, task + 1]).max()) * (1 - ROUNDING)
        bound = max(*self._loads, *self._bus_loads, priced)
        if bound < self.state.period * (1 - ROUNDING):
            return True
        latency = max(end + self._tails[each][self._placement[each]] for each, end in enumerate(self._ends))
        return bound <= self.state.period * (1 + ROUNDING) and latency < self.state.latency * (1 - ROUNDING)

    def _finish(self) -> None:
        least = steady(self._instance, self._placement)
        if not is_better(least, self.state):
            return
        state = reached(self._instance, self._placement, least)
        if state.period > least.period:
            self.possible = min(self.possible, least.period)
        if is_better(state, self.state):
            self.best, self.state = list(self._placement), state


def is_better(state: Steady, than: Steady) -> bool:
    """Whether a period is shorter, or the same with a shorter latency."""
    if state.period < than.period * (1 - ROUNDING):
        return True
    return state.period <= than.period * (1 + ROUNDING) and state.latency < than.latency * (1 - ROUNDING)
