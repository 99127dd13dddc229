"""The simple rivals: each device alone, the earliest finish first, contiguous blocks of an order."""

from __future__ import annotations

from collections.abc import Iterator

from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.instance import NEVER, Instance, Order
from sparsegen.hetero.solver.places import Places
from sparsegen.hetero.solver.retime import Timeline, is_allowed


def singles(instance: Instance) -> Iterator[Candidate]:
    """All on one device, for each device that can run all; see `alone`."""
    return (each for _, each in alone(instance))


def alone(instance: Instance) -> Iterator[tuple[int, Candidate]]:
    """Devices that can run all, each with the candidate that has all there.

    Inputs and results, which keep no device busy, are elsewhere where they cannot be on the device.
    """
    order = list(range(instance.count))
    for device in range(instance.devices):
        placement = [
            instance.domain(task)[0]
            if instance.passing[task] and instance.seconds[task][device] == NEVER
            else device
            for task in order
        ]
        if is_allowed(instance, placement):
            yield device, Candidate.of(placement, order, "single")


def greedy(instance: Instance) -> Candidate | None:
    """Of all tasks that may start, on all devices, the one that ends first goes next.

    None where it runs into a dead end of links, groups or memory.
    """
    places, timeline = Places(instance), Timeline(instance)
    waiting = [len(reads) for reads in instance.reads]
    ready = [task for task, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        best = min(
            (
                (*timeline.peek(task, device)[::-1], task, device)
                for task in ready
                for device in places.of(task)
            ),
            default=None,
        )
        if best is None:
            return None
        *_, task, device = best
        places.put(task, device)
        timeline.append(task, device)
        order.append(task)
        ready.remove(task)
        for reader in instance.readers[task]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    return Candidate.of(timeline.placed, order, "greedy")


def blocks(instance: Instance, order: Order) -> Candidate | None:
    """Contiguous blocks of an order on the devices, by a dynamic program that lets nothing overlap.

    At a task where the device changes, the transfers of what it reads count. A heuristic: the schedule is
    timed with all that overlaps. None where links, groups or memory do not allow the outcome.
    """
    ends = [0.0] * instance.devices
    choices = []
    for task in order:
        row, choice = [], []
        for device in range(instance.devices):
            seconds = instance.seconds[task][device] if device in instance.domain(task) else NEVER
            reached = [
                end + (_change(instance, task, source, device) if source != device else 0.0)
                for source, end in enumerate(ends)
            ]
            least = min(range(instance.devices), key=reached.__getitem__)
            choice.append(least)
            row.append(seconds + reached[least])
        ends = row
        choices.append(choice)
    device = min(range(instance.devices), key=ends.__getitem__)
    placement = [0] * instance.count
    for task, choice in zip(reversed(order), reversed(choices), strict=True):
        placement[task] = device
        device = choice[device]
    return Candidate.of(placement, order, "blocks") if is_allowed(instance, placement) else None


def _change(instance: Instance, task: int, source: int, device: int) -> float:
    """What it costs that the device changes at a task."""
    delays = (instance.delay[read][source][device] for read in instance.reads[task])
    return max(delays, default=0.0) + instance.invocation[task][device]
