"""What a period has to hold under a placement: tasks and transfers, what they take, what they wait for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.retime import retime
from sparsegen.hetero.solver.steady import sent

EXACTLY = 1e-12
"""Relative: what equal places in a period may differ by, far less than equal times of plans in `bounds`."""


@dataclass(frozen=True)
class Wait:
    """start(after, i) >= start(before, i - back) + seconds, for every input i."""

    before: int
    after: int
    seconds: float
    back: int


@dataclass(frozen=True)
class Chores:
    """Tasks, by their numbers, and after them the transfers that take a bus, which `sends` names.

    seconds: of each. takes: the devices and buses that each takes alone meanwhile, by number.
    """

    seconds: list[float]
    takes: list[tuple[int, ...]]
    waits: list[Wait]
    sends: list[tuple[int, int]]

    @classmethod
    def of(cls, instance: Instance, placement: Sequence[int]) -> Chores:
        """What one input takes under an allowed placement."""
        seconds = retime(instance, placement, range(instance.count)).seconds()
        takes: list[tuple[int, ...]] = [
            () if passing else (device,) for passing, device in zip(instance.passing, placement, strict=True)
        ]
        chores = cls(seconds, takes, [], [])
        number = {way: chores._send(instance, placement, *way) for way in sent(instance, placement)}
        for task, device in enumerate(placement):
            for back, reads in enumerate((instance.reads[task], instance.carries[task])):
                for read in reads:
                    before, delay = read, instance.delay[read][placement[read]][device]
                    if (read, device) in number and number[read, device] >= 0:
                        before, delay = number[read, device], 0.0
                    chores.waits.append(Wait(before, task, seconds[before] + delay, back))
        return chores

    def _send(self, instance: Instance, placement: Sequence[int], task: int, device: int) -> int:
        """Add a transfer, if it takes a bus; its number, or -1."""
        source = placement[task]
        buses = instance.buses[source][device]
        if not buses:
            return -1
        number = len(self.seconds)
        self.seconds.append(instance.delay[task][source][device])
        self.takes.append(tuple(instance.devices + bus for bus in buses))
        self.waits.append(Wait(task, number, self.seconds[task], 0))
        self.sends.append((task, device))
        return number

    def in_turn(self, starts: Sequence[float], period: float) -> list[Wait]:
        """The waits for devices and buses, by the order in which starts of this period use them."""
        users: dict[int, list[int]] = {}
        for chore, takes in enumerate(self.takes):
            for each in takes:
                users.setdefault(each, []).append(chore)
        found = []
        for chores in users.values():
            turns = in_rounds(chores, starts, self.seconds, period)
            for at, (chore, behind) in enumerate(turns):
                after, later = turns[(at + 1) % len(turns)]
                back = behind - later + (at + 1 == len(turns))
                found.append(Wait(chore, after, self.seconds[chore], back))
        return found


def in_rounds(
    chores: Sequence[int], starts: Sequence[float], seconds: Sequence[float], period: float
) -> list[tuple[int, int]]:
    """The order in which a device does chores in each period, and how many inputs behind the newest each."""
    first = min(starts[each] for each in chores)
    turns = []
    for each in chores:
        behind = math.floor((starts[each] - first) / period * (1 + EXACTLY) + EXACTLY) if period else 0
        place = max(0.0, starts[each] - first - behind * period)
        # What takes no time goes before what begins at the same time.
        turns.append(
            (round(place / (10 * EXACTLY * period)) if period else 0, seconds[each] > 0, each, behind)
        )
    return [(each, behind) for _, _, each, behind in sorted(turns)]
