"""Emulated links and buses of which transfers take turns, in the rounds of a plan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sparsegen.hetero.plans.lanes import Taken, taken_by
from sparsegen.hetero.plans.plan import Plan

Deliver = Callable[[float, float], None]
"""Is told when a transfer starts and ends; both may be ahead of now."""
Key = tuple[int, int]
"""A transfer, by its place in the plan, and of which input."""


@dataclass
class _Rounds:
    """What has had its turn on one bus: all before the place `at` of a round, of inputs from `begin` on.

    flushes: how many were seen.
    """

    number: int = 0
    at: int = 0
    begin: int = 0
    flushes: int = 0
    free: float = 0.0


class Buses:
    """Gives transfers their times: each starts when it is sent, and those whose turn is before have ended.

    Nobody waits here: a transfer is delivered once those before it have been sent. Any thread may call.
    takes_turns: numbers of the plan's transfers that do.
    """

    def __init__(self, plan: Plan, takes_turns: Collection[int]) -> None:
        self._replicas = len(plan.replicas)
        self._transfers = {number: plan.transfers[number] for number in sorted(takes_turns)}
        self._takes = {
            (number, replica): taken_by(plan, transfer, replica)
            for number, transfer in self._transfers.items()
            for replica in range(self._replicas)
        }
        self._longest = self._replicas * max((t.behind for t in self._transfers.values()), default=0)
        self._order: dict[Taken, list[list[int]]] = {}  # of each bus, the transfers of each replica
        for (number, replica), takes in self._takes.items():
            for bus in takes:
                rows = self._order.setdefault(bus, [[] for _ in range(self._replicas)])
                rows[replica].append(number)
        self._rounds = {bus: _Rounds() for bus in self._order}
        self._flushed: list[int] = []
        self._sent: dict[Key, tuple[float, float, Deliver]] = {}
        self._lock = threading.Lock()

    def send(self, number: int, input: int, now: float, seconds: float, deliver: Deliver) -> None:
        """A transfer of the plan is ready now; `deliver` is called as soon as its times are known."""
        with self._lock:
            self._sent[number, input] = now, seconds, deliver
            self._deliver()

    def flush(self, input: int) -> None:
        """No input from this number on comes before all transfers of those before have been sent."""
        with self._lock:
            self._flushed.append(input)
            self._deliver()

    def _deliver(self) -> None:
        moved = True
        while moved:
            moved = False
            for key in list(self._sent):
                number, input = key
                buses = self._takes[number, input % self._replicas]
                if all(self._next(bus) == key for bus in buses):
                    now, seconds, deliver = self._sent.pop(key)
                    start = max([now, *(self._rounds[bus].free for bus in buses)])
                    for bus in buses:
                        self._rounds[bus].free = start + seconds
                        self._rounds[bus].at += 1
                    deliver(start, start + seconds)
                    moved = True

    def _next(self, bus: Taken) -> Key:
        """Whose turn it is; of an input that may still come, or not."""
        rounds, order = self._rounds[bus], self._order[bus]
        while True:
            limit = self._flushed[rounds.flushes] if rounds.flushes < len(self._flushed) else None
            if limit is not None and rounds.number >= limit + self._longest:
                rounds.number = rounds.begin = limit
                rounds.at, rounds.flushes = 0, rounds.flushes + 1
                continue
            row = order[rounds.number % self._replicas]
            if rounds.at == len(row):
                rounds.number, rounds.at = rounds.number + 1, 0
                continue
            number = row[rounds.at]
            input = rounds.number - self._replicas * self._transfers[number].behind
            if input < rounds.begin or (limit is not None and input >= limit):
                rounds.at += 1
                continue
            return number, input
