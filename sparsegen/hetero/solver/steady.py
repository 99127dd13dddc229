"""The period of a stream of inputs under a placement, and what it is bound by.

A device runs its tasks of one input in the problem's order, then those of the next, without inputs and
results, which take no time; nothing else waits, and results may pile up between devices. Then the starts of
successive inputs are, in the long run, as far apart as the greatest mean of a cycle of waits: the sum of its
times over the number of inputs that it advances. A task waits for what it reads, for the device's task before
it, and, one input on, for what it carries; a device's first task, one input on, for its last. So the period
is at least

    load(d) = sum of the times of d's tasks, invocations and streamed weights included    for each device
    the time around any recurrence, transfers included, over the inputs that it spans,

and it is more where a device waits, within one input, for another one that waits for it (a, then b, then a
again). A link that is exclusive bounds the period by the time of its transfers; their order is taken to
adapt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.retime import is_allowed, retime

CLOSE = 1e-9  # relative


@dataclass(frozen=True)
class Steady:
    """Seconds between two results, what bounds them, and one input's makespan in the problem's order."""

    period: float
    limit: str
    latency: float


_REFUSED = Steady(NEVER, "", NEVER)


def steady(instance: Instance, placement: Sequence[int], limit: float = NEVER) -> Steady:
    """The steady state of a placement; a period of NEVER where it is not allowed, or past `limit`."""
    if not is_allowed(instance, placement) or not carries_arrive(instance, placement):
        return _REFUSED
    timeline = retime(instance, placement, range(instance.count))
    seconds = [end - start for start, end in zip(timeline.starts, timeline.ends, strict=True)]
    loads = [0.0] * instance.devices
    for task, device in enumerate(placement):
        loads[device] += seconds[task]
    period = max(loads)
    if period > limit:
        return _REFUSED
    cause = f"device {instance.device_names[loads.index(period)]}"
    for link, load in enumerate(link_loads(instance, placement)):
        if load > period * (1 + CLOSE):
            source, target = (instance.device_names[device] for device in instance.exclusive_links[link])
            period, cause = load, f"link {source}-{target}"
    mean = greatest_mean(waits(instance, placement, seconds, with_carries=False))
    if mean > period * (1 + CLOSE):
        period, cause = mean, _waiting(instance, placement)
    if any(instance.carries):
        mean = greatest_mean(waits(instance, placement, seconds))
        if mean > period * (1 + CLOSE):
            period, cause = mean, _recurrence(instance, placement, seconds, mean)
    return Steady(period, cause, timeline.makespan())


def carries_arrive(instance: Instance, placement: Sequence[int]) -> bool:
    """Whether there is a link for all that is carried."""
    return all(
        instance.linked(carried, placement[carried], placement[task])
        for task, carries in enumerate(instance.carries)
        for carried in carries
    )


def link_loads(instance: Instance, placement: Sequence[int]) -> list[float]:
    """Seconds that the transfers of one input take on each exclusive link."""
    loads = [0.0] * len(instance.exclusive_links)
    sent = set()
    for task, device in enumerate(placement):
        for read in instance.reads[task] + instance.carries[task]:
            link = instance.exclusive[placement[read]][device]
            if link >= 0 and (read, device) not in sent:
                sent.add((read, device))
                loads[link] += instance.delay[read][placement[read]][device]
    return loads


def waits(
    instance: Instance, placement: Sequence[int], seconds: Sequence[float], *, with_carries: bool = True
) -> list[list[float]]:
    """wait[i][j]: the longest way from what one input hands on to what it hands on to the next one.

    Handed on are each device, from its last task to its first, and then each result that is carried.
    -NEVER where there is no way.
    """
    carried = (
        [(each, task) for task, carries in enumerate(instance.carries) for each in carries]
        if with_carries
        else []
    )
    width = instance.devices + len(carried)
    ends: list[list[float]] = []
    last: list[list[float]] = [
        [0.0 if token == device else -NEVER for token in range(width)] for device in range(instance.devices)
    ]
    for task, device in enumerate(placement):
        start = [-NEVER] * width if instance.passing[task] else list(last[device])
        for read in instance.reads[task]:
            delay = instance.delay[read][placement[read]][device]
            start = [max(a, b + delay) for a, b in zip(start, ends[read], strict=True)]
        for token, (_, reader) in enumerate(carried, instance.devices):
            if reader == task:
                start[token] = max(start[token], 0.0)
        ends.append([each + seconds[task] for each in start])
        if not instance.passing[task]:
            last[device] = ends[-1]
    handed = [last[device] for device in range(instance.devices)]
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


def _recurrence(instance: Instance, placement: Sequence[int], seconds: Sequence[float], mean: float) -> str:
    """The recurrence behind a period: a task that carries, if possible one that alone explains it."""
    wait = waits(instance, placement, seconds)
    readers = [task for task, carries in enumerate(instance.carries) for _ in carries]
    for token, reader in enumerate(readers, instance.devices):
        if wait[token][token] >= mean * (1 - CLOSE):
            return f"recurrence {instance.names[reader]}"
    return f"recurrence {instance.names[readers[0]]}"


def _waiting(instance: Instance, placement: Sequence[int]) -> str:
    used = [name for device, name in enumerate(instance.device_names) if device in placement]
    return f"devices {', '.join(used)} in turn"
