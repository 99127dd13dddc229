"""What a partial schedule of the exact search still needs at least."""

from __future__ import annotations

import numpy as np

from sparsegen.hetero.solver.bounds import Array, best_prices, least_work, tails
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.labels import Label

_SPREADS = (0.7, 0.9, 1.1, 1.4)
"""By which the price of one device differs from the best, as the devices get free at different times."""
_DOWN = 1 - 1e-14
"""Keeps rounding errors of sums from lifting a bound."""


class Remaining:
    """Bounds of labels, as `exact` describes them; loads are kept by down-set."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._tails = tails(instance)
        self._needed = [
            [
                (device, instance.seconds[task][device] + self._tails[task][device])
                for device in instance.domain(task)
            ]
            for task in range(instance.count)
        ]
        work = least_work(instance)
        best, _ = best_prices(work)
        prices = [best, np.full(instance.devices, 1 / instance.devices)]
        for device in range(instance.devices):
            for spread in _SPREADS:
                changed = best.copy()
                changed[device] *= spread
                prices.append(changed / changed.sum())
        self._prices: Array = np.array(prices)
        finite = np.where(np.isfinite(work), work, 0.0)
        priced = np.where(np.isfinite(work)[None], self._prices[:, None] * finite[None], NEVER)
        self._least: Array = priced.min(axis=2)  # prices x tasks
        last = np.array(
            [min(tail[device] for device in instance.domain(task)) for task, tail in enumerate(self._tails)]
        )
        self._after = np.unique(last)
        self._late = (last[None] >= self._after[:, None]).astype(float)  # thresholds x tasks
        self._loads: dict[int, tuple[Array, float]] = {}
        self._ahead: dict[int, list[int]] = {}

    def bound(self, label: Label, limit: float = NEVER) -> float:
        """A lower bound of any schedule that goes on from a label; one that reaches `limit` will do."""
        floor = [max(label.last, each) for each in label.free]
        found = self._loads.get(label.done)
        if found is None:
            found = self._loads[label.done] = self._load(label.done)
        load, with_tail = found
        priced = float((self._prices @ floor + load).max())
        bound = max(*label.free, priced * _DOWN, (min(floor) + with_tail) * _DOWN)
        for task in self._next(label.done):
            if bound >= limit:
                break
            bound = max(bound, self._path(label, task, floor))
        return bound

    def mean_load(self, label: Label) -> float:
        """When the devices are free, and what is to be done after that where it is done fastest, a device."""
        load, _ = self._loads[label.done]
        return float(self._prices[0] @ [max(label.last, each) for each in label.free] + load[0])

    def _path(self, label: Label, task: int, floor: list[float]) -> float:
        """The least end of what follows one task, whichever device it takes."""
        pinned = label.groups[self._instance.unit_of[task]]
        there = [self._arrivals(label, read) for read in self._instance.reads[task] if read in label.live]
        least = NEVER
        for device, needed in self._needed[task]:
            if pinned in (-1, device):
                start = floor[device]
                for arrivals in there:
                    if arrivals[device] > start:
                        start = arrivals[device]
                if start + needed < least:
                    least = start + needed
        return least

    def _arrivals(self, label: Label, read: int) -> tuple[float, ...]:
        """Of a result at each device, at the earliest where it is still to be sent."""
        source, end, arrivals = label.live[read]
        if not label.buses:
            return arrivals
        delays, buses = self._instance.delay[read][source], self._instance.buses[source]
        return tuple(
            max([end, label.last, *(label.buses[bus] for bus in taken)]) + delay
            if arrival == NEVER and taken
            else arrival
            for arrival, delay, taken in zip(arrivals, delays, buses, strict=True)
        )

    def _next(self, done: int) -> list[int]:
        """Tasks to come that read something done, or nothing."""
        found = self._ahead.get(done)
        if found is None:
            found = self._ahead[done] = [
                task
                for task, reads in enumerate(self._instance.reads)
                if not done >> task & 1 and (not reads or any(done >> read & 1 for read in reads))
            ]
        return found

    def _load(self, done: int) -> tuple[Array, float]:
        """For each price, the priced load of what is to be done; the best sum of a load and its tail.

        All of what has such a tail is to be done between now and the tail, whatever the device; but a device
        that does none of it may be busy until later, so that only the first is added to the floors.
        """
        left = np.array([not done >> task & 1 for task in range(self._instance.count)])
        if not left.any():
            return np.zeros(len(self._prices)), 0.0
        loads = (self._least * left) @ self._late.T + self._after
        loads[:, ~(self._late * left).any(axis=1)] = 0.0  # of no tasks: no tail either
        return (self._least * left).sum(axis=1), float(loads.max())
