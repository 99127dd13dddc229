"""The period that a stream of inputs has at least under a placement, and what it is bound by.

Devices interleave successive inputs as they like: while one waits for another, it runs tasks of earlier or
later inputs. So nothing bounds the period but

    load(d) = sum of the times of d's tasks, invocations and streamed weights included    for each device
    load(b) = sum of the times of the transfers that take b                                  for each bus
    the time around any recurrence, transfers included, over the inputs that it spans.

Without recurrences, and with one bus a link at most, there is a schedule of that period: each device and each
bus does its work of a period in a row, and what has to wait for a result is done some periods later. With
them, `periodic` looks for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.retime import is_allowed, retime


@dataclass(frozen=True)
class Steady:
    """Seconds between two results, what bounds them, and one input's makespan in the problem's order."""

    period: float
    limit: str
    latency: float


_REFUSED = Steady(NEVER, "", NEVER)


def steady(instance: Instance, placement: Sequence[int], limit: float = NEVER) -> Steady:
    """The least steady state of a placement; a period of NEVER where it is not allowed, or past `limit`."""
    if not is_allowed(instance, placement) or not carries_arrive(instance, placement):
        return _REFUSED
    timeline = retime(instance, placement, range(instance.count))
    seconds = timeline.seconds()
    loads = [0.0] * instance.devices
    for task, device in enumerate(placement):
        loads[device] += seconds[task]
    period = max(loads)
    if period > limit:
        return _REFUSED
    cause = f"device {instance.device_names[loads.index(period)]}"
    for bus, load in enumerate(bus_loads(instance, placement)):
        if load > period * (1 + ROUNDING):
            period, cause = load, instance.bus_names[bus]
    if any(instance.carries):
        wait = waits(instance, placement, seconds)
        mean = greatest_mean(wait)
        if mean > period * (1 + ROUNDING):
            period, cause = mean, _recurrence(instance, wait, mean)
    return Steady(period, cause, timeline.makespan())


def carries_arrive(instance: Instance, placement: Sequence[int]) -> bool:
    """Whether there is a link for all that is carried."""
    return all(
        instance.linked(carried, placement[carried], placement[task])
        for task, carries in enumerate(instance.carries)
        for carried in carries
    )


def sent(instance: Instance, placement: Sequence[int]) -> dict[tuple[int, int], None]:
    """What goes to other devices for each input: results, and where to, in the order of their readers."""
    return {
        (read, device): None
        for task, device in enumerate(placement)
        for read in instance.reads[task] + instance.carries[task]
        if placement[read] != device
    }


def bus_loads(instance: Instance, placement: Sequence[int]) -> list[float]:
    """Seconds that the transfers of one input take on each bus."""
    loads = [0.0] * len(instance.bus_names)
    if loads:
        for task, device in sent(instance, placement):
            for bus in instance.buses[placement[task]][device]:
                loads[bus] += instance.delay[task][placement[task]][device]
    return loads


def waits(instance: Instance, placement: Sequence[int], seconds: Sequence[float]) -> list[list[float]]:
    """wait[i][j]: the longest way from a result that one input hands on to one that it hands on to the next.

    Results are those that are carried, once for each of their readers. -NEVER where there is no way.
    """
    carried = [(each, task) for task, carries in enumerate(instance.carries) for each in carries]
    width = len(carried)
    ends: list[list[float]] = []
    for task, device in enumerate(placement):
        start = [-NEVER] * width
        for read in instance.reads[task]:
            delay = instance.delay[read][placement[read]][device]
            start = [max(a, b + delay) for a, b in zip(start, ends[read], strict=True)]
        for token, (_, reader) in enumerate(carried):
            if reader == task:
                start[token] = max(start[token], 0.0)
        ends.append([each + seconds[task] for each in start])
    handed = []
    for each, reader in carried:
        delay = instance.delay[each][placement[each]][placement[reader]]
        handed.append([end + delay for end in ends[each]])
    return [[handed[j][i] for j in range(width)] for i in range(width)]


def greatest_mean(wait: list[list[float]]) -> float:
    """The greatest mean weight of a cycle (Karp, 1978); 0 without one."""
    count = len(wait)
    best = [[0.0] * count]
    for _ in range(count):
        before = best[-1]
        best.append([max(before[i] + wait[i][j] for i in range(count)) for j in range(count)])
    return max(
        (
            min((best[-1][j] - best[k][j]) / (count - k) for k in range(count) if best[k][j] > -NEVER)
            for j in range(count)
            if best[-1][j] > -NEVER
        ),
        default=0.0,
    )


def _recurrence(instance: Instance, wait: list[list[float]], mean: float) -> str:
    """The recurrence behind a period: a task that carries, if possible one that alone explains it."""
    readers = [task for task, carries in enumerate(instance.carries) for _ in carries]
    for token, reader in enumerate(readers):
        if wait[token][token] >= mean * (1 - ROUNDING):
            return f"recurrence {instance.names[reader]}"
    return f"recurrence {instance.names[readers[0]]}"
