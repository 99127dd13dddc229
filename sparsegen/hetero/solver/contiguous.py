"""Contiguous stages of the problem's order, a device once at most: dynamic programming over sets of devices.

    g({d}, d, j) = load(0 .. j - 1, d)
    g(S, d, j) = min over i < j, and over c in S - {d} from which a link leads to d, of
                 max(g(S - {d}, c, i), load(i .. j - 1, d))

load has times, invocations, and what the weights past the cache stream; above the memory it is infinite.
Links and recurrences do not count here; the outcome is timed with them.
"""

from __future__ import annotations

import itertools

import numpy as np

from sparsegen.hetero.solver.bounds import Array
from sparsegen.hetero.solver.instance import NEVER, Instance, Placement

MOST_DEVICES = 6


def stages(instance: Instance) -> Placement:
    """The stages with the least greatest load; of the devices that serve best, where there are many."""
    totals = np.array(instance.seconds).sum(axis=0)
    devices = [int(each) for each in np.argsort(totals, kind="stable")[:MOST_DEVICES]]
    loads = {device: _loads(instance, device) for device in devices}
    linked = [
        [a == b or instance.linked(0, a, b) for b in range(instance.devices)] for a in range(instance.devices)
    ]
    best: dict[tuple[frozenset[int], int], Array] = {}
    cuts: dict[tuple[frozenset[int], int], tuple[Array, Array]] = {}
    for size in range(1, len(devices) + 1):
        for chosen in map(frozenset, itertools.combinations(devices, size)):
            for device in sorted(chosen):
                before = [other for other in sorted(chosen - {device}) if linked[other][device]]
                if size == 1:
                    best[chosen, device] = loads[device][0]
                elif before:
                    rows = np.array(
                        [best.get((chosen - {device}, other), _none(instance)) for other in before]
                    )
                    came = rows.argmin(axis=0)
                    ended = np.maximum(rows.min(axis=0)[:, None], loads[device])
                    cut = ended.argmin(axis=0)
                    best[chosen, device] = ended.min(axis=0)
                    cuts[chosen, device] = cut, np.array(before)[came[cut]]
    return _traced(instance, best, cuts)


def _none(instance: Instance) -> Array:
    return np.full(instance.count + 1, NEVER)


def _traced(
    instance: Instance,
    best: dict[tuple[frozenset[int], int], Array],
    cuts: dict[tuple[frozenset[int], int], tuple[Array, Array]],
) -> Placement:
    chosen, device = min(best, key=lambda key: (best[key][-1], len(key[0]), key[1]))
    placement, end = [device] * instance.count, instance.count
    while (chosen, device) in cuts:
        cut, came = cuts[chosen, device]
        begin, earlier = int(cut[end]), int(came[end])
        placement[begin:end] = [device] * (end - begin)
        chosen, device, end = chosen - {device}, earlier, begin
    placement[:end] = [device] * end
    return placement


def _loads(instance: Instance, device: int) -> Array:
    """load[i, j]: of tasks i to j - 1, as one stage; infinite where they cannot be one."""
    count = instance.count
    seconds = np.array([row[device] for row in instance.seconds])
    invocation = np.array([row[device] for row in instance.invocation])
    first_read = np.array([min(reads, default=-1) for reads in instance.reads])
    held = np.concatenate([[0.0], np.cumsum(instance.weights)])
    loads = np.full((count + 1, count + 1), NEVER)
    for begin in range(count):
        costs = seconds[begin:] + np.where(first_read[begin:] < begin, invocation[begin:], 0.0)
        size = held[begin + 1 :] - held[begin]
        load = np.cumsum(costs)
        if instance.cache[device] < NEVER:
            load = load + np.maximum(0.0, size - instance.cache[device]) * instance.stream[device]
        loads[begin, begin + 1 :] = np.where(size <= instance.memory[device], load, NEVER)
    return loads
