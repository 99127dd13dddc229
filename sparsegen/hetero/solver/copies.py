"""Data-parallel copies: the whole model several times, on devices of their own, which take inputs in turn.

A host that inputs come from and results go to is shared by all copies, where there are fewer than copies.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from sparsegen.hetero.problem.problem import Pipelining, Problem, Store
from sparsegen.hetero.solver.instance import Instance


def equivalent_devices(problem: Problem) -> list[tuple[str, ...]]:
    """All devices, in groups whose members can stand in for each other: equal times, stores and links."""
    groups: list[list[str]] = []
    for device in problem.devices:
        for group in groups:
            if _stands_in(problem, group[0], device):
                group.append(device)
                break
        else:
            groups.append([device])
    return [tuple(group) for group in groups]


def copies(
    problem: Problem, groups: Sequence[Sequence[str]], solve: Callable[[Problem], Pipelining | None]
) -> Pipelining | None:
    """The best plan of two copies or more, or None where none is possible.

    Copies take the same number of devices of each group, and `solve` places one of them; None says that it
    cannot. Devices of groups that are too small for that pass on inputs and results alone, of all copies.
    Copies that would share a bus go without its links. With results that are carried from one input to the
    next there are no copies.
    """
    if any(task.carries for task in problem.tasks):
        return None
    best: Pipelining | None = None
    bound = math.inf
    instance = Instance(problem)
    passing = {name for name, passes in zip(instance.names, instance.passing, strict=True) if passes}
    for count in range(2, max(map(len, groups)) + 1):
        shares = [(group, len(group) // count) for group in groups]
        kept = [name for group, share in shares for name in group[:share]]
        others = [name for group, share in shares if not share for name in group]
        hosts = [n for n in others if any(n in task.times for task in problem.tasks if task.name in passing)]
        found = solve(_restricted(problem, kept, hosts, passing))
        if found is None:
            continue
        bound = min(bound, found.bound / count)
        replicas = tuple(
            {
                name: group[copy * share + place]
                for group, share in shares
                for place, name in enumerate(group[:share])
            }
            for copy in range(count)
        )
        shared = _shared_buses(problem, replicas, hosts)
        if shared:
            apart = tuple(link for link in problem.links if not shared.intersection(link.buses))
            found = solve(_restricted(dataclasses.replace(problem, links=apart), kept, hosts, passing))
            if found is None:
                continue
        plan = dataclasses.replace(found, period=found.period / count, replicas=({}, *replicas[1:]))
        if best is None or (plan.period, plan.latency) < (best.period, best.latency):
            best = plan
    return None if best is None else dataclasses.replace(best, bound=bound)


def _shared_buses(problem: Problem, replicas: Sequence[Mapping[str, str]], hosts: Sequence[str]) -> set[str]:
    """The buses that links within more than one copy take, those to hosts among them."""
    taken: Counter[str] = Counter()
    for replica in replicas:
        own = {*replica.values(), *hosts}
        within = (link for link in problem.links if {link.source, link.target} <= own)
        taken.update({name for link in within for name in link.buses})
    return {name for name, copies_ in taken.items() if copies_ > 1}


def _restricted(
    problem: Problem, devices: Sequence[str], hosts: Sequence[str], passing: Collection[str]
) -> Problem:
    """The problem on some of its devices; tasks that are `passing` may be on some others, too."""
    both = (*devices, *hosts)

    def kept(times: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
        return {name: time for name, time in times.items() if name in names}

    tasks = [
        dataclasses.replace(
            task,
            times=kept(task.times, both if task.name in passing else devices),
            invocation=kept(task.invocation, devices),
        )
        for task in problem.tasks
    ]
    return Problem(
        both,
        tuple(tasks),
        tuple(link for link in problem.links if link.source in both and link.target in both),
        {name: store for name, store in problem.stores.items() if name in both},
    )


def _stands_in(problem: Problem, first: str, second: str) -> bool:
    """Whether nothing changes when two devices change places."""
    other = {first: second, second: first}
    links = {
        (link.source, link.target): (link.latency, link.bandwidth, link.exclusive) for link in problem.links
    }
    names = {name for link in problem.links for name in link.buses}
    ways = [[(ln.source, ln.target) for ln in problem.links if name in ln.buses] for name in names]
    return (
        Counter(frozenset(each) for each in ways)
        == Counter(frozenset((other.get(a, a), other.get(b, b)) for a, b in each) for each in ways)
        and all(
            task.times.get(first) == task.times.get(second)
            and task.invocation.get(first, 0.0) == task.invocation.get(second, 0.0)
            for task in problem.tasks
        )
        and problem.stores.get(first, Store()) == problem.stores.get(second, Store())
        and all(
            links.get((other.get(source, source), other.get(target, target))) == rates
            for (source, target), rates in links.items()
        )
    )
