"""A chain of operators: dynamic programming over positions and devices, exact.

    f(j, d) = seconds(j, d) + min over devices c of
                  f(j - 1, c) + [c is not d] (delay(j - 1, c, d) + invocation(j, d))
    f(0, d) = seconds(0, d) + invocation(0, d)

Nothing runs at the same time as anything else, so devices and links are always free when they are needed. It
does not know of memory, of weight caches or of groups: `exact` takes chains with those.
"""

from __future__ import annotations

from sparsegen.hetero.solver.instance import NEVER, Instance, Placement


def is_chain(instance: Instance) -> bool:
    """Whether the dynamic program is exact: each task reads the one before it and nothing else."""
    reads = [[task - 1] if task else [] for task in range(instance.count)]
    return instance.reads == reads and not (instance.has_groups or instance.has_stores)


def best_of_chain(instance: Instance) -> Placement:
    """The placement with the least makespan; the tasks run in their order."""
    ends: list[float] = []
    choices: list[list[int]] = []
    for task in range(instance.count):
        row, choice = [], []
        for device, seconds in enumerate(instance.seconds[task]):
            invocation = instance.invocation[task][device]
            if task == 0:
                row.append(seconds + invocation)
                continue
            reached = [
                end + (instance.delay[task - 1][source][device] + invocation if source != device else 0.0)
                for source, end in enumerate(ends)
            ]
            least = min(range(instance.devices), key=reached.__getitem__)
            choice.append(least)
            row.append(seconds + reached[least])
        ends = row
        choices.append(choice)
    placement = [min(range(instance.devices), key=ends.__getitem__)]
    assert ends[placement[0]] < NEVER  # each task has a device, and between those links, or it was refused
    for choice in reversed(choices[1:]):
        placement.append(choice[placement[-1]])
    return placement[::-1]
