"""HEFT: heterogeneous earliest finish time, with insertion (Topcuoglu, Hariri, Wu, TPDS 13(3), 2002).

Tasks go by their upward rank, which is the length of the longest way to the end in mean times,

    rank(v) = mean time(v) + max over readers w of  (mean delay(v) + rank(w)),

each to the device on which it ends first, into a gap between the tasks that are there where it fits. Where
links have buses, or a weight cache makes a task's time depend on those before it, tasks are appended.
"""

from __future__ import annotations

from bisect import insort
from statistics import mean

from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.instance import NEVER, Instance, Order
from sparsegen.hetero.solver.places import Places
from sparsegen.hetero.solver.retime import Timeline


def upward_ranks(instance: Instance) -> list[float]:
    """rank[task]; means are over the devices that it may be on, and over the links between two of them."""
    ranks = [0.0] * instance.count
    for task in reversed(range(instance.count)):
        ranks[task] = mean(instance.seconds[task][device] for device in instance.domain(task)) + max(
            (_mean_delay(instance, task, reader) + ranks[reader] for reader in instance.readers[task]),
            default=0.0,
        )
    return ranks


def by_rank(instance: Instance) -> Order:
    """Tasks by falling rank, each after what it reads."""
    ranks = upward_ranks(instance)
    # Ranks do not rise along an edge; where they stay the same, the problem's order is one that runs.
    return sorted(range(instance.count), key=lambda task: (-ranks[task], task))


def heft(instance: Instance) -> Candidate | None:
    """HEFT's schedule; None where it runs into a dead end of links, groups or memory."""
    if instance.bus_names or any(size < NEVER for size in instance.cache):
        return _appended(instance)
    places = Places(instance)
    placement, ends, starts = ([0] * instance.count, [0.0] * instance.count, [0.0] * instance.count)
    busy: list[list[tuple[float, float]]] = [[] for _ in range(instance.devices)]
    for task in by_rank(instance):
        best = (NEVER, NEVER, -1)
        for device in places.of(task):
            seconds, ready = instance.seconds[task][device], 0.0
            reads = instance.reads[task]
            for read in reads:
                ready = max(ready, ends[read] + instance.delay[read][placement[read]][device])
            if not reads or any(placement[read] != device for read in reads):
                seconds += instance.invocation[task][device]
            start = _gap(busy[device], ready, seconds)
            best = min(best, (start + seconds, start, device))
        ends[task], starts[task], device = best
        if device < 0:
            return None
        placement[task] = device
        places.put(task, device)
        insort(busy[device], (starts[task], ends[task]))
    order = sorted(range(instance.count), key=lambda task: (starts[task], ends[task], task))
    return Candidate.of(placement, order, "heft")


def _appended(instance: Instance) -> Candidate | None:
    """HEFT without insertion."""
    places, timeline, order = Places(instance), Timeline(instance), by_rank(instance)
    for task in order:
        devices = places.of(task)
        if not devices:
            return None
        device = min(devices, key=lambda each: timeline.peek(task, each)[::-1])
        places.put(task, device)
        timeline.append(task, device)
    return Candidate.of(timeline.placed, order, "heft")


def _gap(busy: list[tuple[float, float]], ready: float, seconds: float) -> float:
    """The first start from `ready` on at which a device has so much time."""
    start = ready
    for began, ended in busy:
        if start + seconds <= began:
            return start
        start = max(start, ended)
    return start


def _mean_delay(instance: Instance, task: int, reader: int) -> float:
    delays = [
        instance.delay[task][source][target]
        for source in instance.domain(task)
        for target in instance.domain(reader)
        if source != target and instance.linked(task, source, target)
    ]
    return mean(delays) if delays else 0.0
