"""Whether a problem is sound: names, numbers, devices, an order that runs. ProblemError tells what is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import networkx as nx

from sparsegen.errors import ProblemError
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task
from sparsegen.wording import UNICODE, is_unicode

_LARGEST = 1e18  # seconds, bytes, bytes a second: sums and quotients of such numbers stay finite
_SLOWEST = 1e-18  # bytes a second, where it is not 0: as above


def checked(problem: Problem, source: str = "the problem") -> Problem:
    """The problem with its tasks in an order that runs, which is the given one where that does.

    `source` is named in errors. Raises ProblemError for the first thing that is not sound; whether the
    problem has a solution is for the solver to say.
    """
    if not problem.devices:
        raise ProblemError(f"{source} has no devices: give one at least")
    if not problem.tasks:
        raise ProblemError(f"{source} has no operators: give one at least")
    _once(problem.devices, "device", source)
    _once((task.name for task in problem.tasks), "operator", source)
    names = {task.name for task in problem.tasks}
    tasks = [_checked_task(task, names, problem.devices, source) for task in problem.tasks]
    links = _checked_links(problem.links, problem.devices, source)
    for device, store in problem.stores.items():
        _known(device, problem.devices, "device", f"{source}: stores")
        _check_store(store, f"{source}: store of {device!r}")
    return dataclasses.replace(problem, tasks=tuple(in_order(tasks, source)), links=links)


def in_order(tasks: Iterable[Task], source: str = "the problem") -> list[Task]:
    """Tasks so that each comes after all that it reads; those that may go first keep their order.

    Raises ProblemError, which names the operators, for a cycle.
    """
    by_name = {task.name: task for task in tasks}
    place = {name: number for number, name in enumerate(by_name)}
    graph = nx.DiGraph()
    graph.add_nodes_from(by_name)
    graph.add_edges_from((read, task.name) for task in by_name.values() for read in task.reads)
    try:
        return [by_name[name] for name in nx.lexicographical_topological_sort(graph, key=place.__getitem__)]
    except nx.NetworkXUnfeasible as error:
        cycle = [first for first, _ in nx.find_cycle(graph)]
        told = " -> ".join([*cycle, cycle[0]])
        raise ProblemError(
            f"{source}: the operators read each other in a cycle, {told}: what comes from the input before "
            "belongs into 'carries'"
        ) from error


def _checked_task(task: Task, names: set[str], devices: tuple[str, ...], source: str) -> Task:
    """The task with floats for times and whole numbers for bytes."""
    place = f"{source}: operator {task.name!r}"
    for kind, read in (("reads", task.reads), ("carries", task.carries)):
        _once(read, f"operator in {kind}", place)
        for name in read:
            _known(name, names, "operator", f"{place}: {kind}")
    if not task.times:
        raise ProblemError(
            f"{place} has no device that can run it: give it a time on one of {_list(devices)}"
        )
    return dataclasses.replace(
        task,
        bytes=_whole(task.bytes, f"{place}: bytes"),
        weights=_whole(task.weights, f"{place}: weights"),
        times=_seconds(task.times, devices, f"{place}: times"),
        invocation=_seconds(task.invocation, devices, f"{place}: invocation"),
    )


def _checked_links(links: Iterable[Link], devices: tuple[str, ...], source: str) -> tuple[Link, ...]:
    found: dict[tuple[str, str], Link] = {}
    for link in links:
        place = f"{source}: link from {link.source!r} to {link.target!r}"
        for device in (link.source, link.target):
            _known(device, devices, "device", place)
        if link.source == link.target:
            raise ProblemError(f"{place} leads from a device to itself: leave it out, no transfer is needed")
        if (link.source, link.target) in found:
            raise ProblemError(f"{place} is there twice: give one link a direction")
        _once(link.buses, "bus", place)
        bandwidth = _rate(link.bandwidth, f"{place}: bandwidth")
        if bandwidth == 0:
            raise ProblemError(f"{place}: bandwidth is 0: give bytes a second, or leave the link out")
        latency = _number(link.latency, f"{place}: latency")
        found[link.source, link.target] = dataclasses.replace(link, latency=latency, bandwidth=bandwidth)
    return tuple(found.values())


def _check_store(store: Store, place: str) -> None:
    for kind, size in (("memory", store.memory), ("cache", store.cache)):
        if size is not None:
            _whole(size, f"{place}: {kind}")
    if _rate(store.stream, f"{place}: stream") == 0 and store.cache is not None:
        raise ProblemError(
            f"{place} has a cache, but stream is 0: give the bytes a second of what does not fit, or give "
            "its size as memory"
        )


def _seconds(times: Mapping[str, float], devices: tuple[str, ...], place: str) -> dict[str, float]:
    for device in times:
        _known(device, devices, "device", place)
    return {device: _number(time, f"{place} on {device!r}") for device, time in times.items()}


def _whole(value: object, place: str) -> int:
    number = _number(value, place)
    if number != int(number):
        raise ProblemError(f"{place} is {value!r}: a whole number is needed")
    return int(number)


def _rate(value: object, place: str) -> float:
    rate = _number(value, place)
    if 0 < rate < _SLOWEST:
        raise ProblemError(f"{place} is {rate}: 0, or {_SLOWEST:.0e} bytes a second at least, is needed")
    return rate


def _number(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProblemError(f"{place} is {value!r}: a number is needed")
    if not 0 <= value <= _LARGEST:
        told = value if isinstance(value, float) or abs(value) <= _LARGEST else "too large"
        raise ProblemError(f"{place} is {told}: a finite number from 0 to {_LARGEST:.0e} is needed")
    return float(value)


def _once(names: Iterable[str], kind: str, place: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ProblemError(f"{place} has the {kind} {name!r} twice: names have to differ")
        if not is_unicode(name):
            raise ProblemError(f"{place} has the {kind} {name!r}: {UNICODE} is needed")
        seen.add(name)


def _known(name: str, known: Iterable[str], kind: str, place: str) -> None:
    if name not in known:
        raise ProblemError(f"{place} names the unknown {kind} {name!r}: known are {_list(known)}")


def _list(names: Iterable[str], most: int = 8) -> str:
    told = sorted(names)
    return ", ".join(told[:most]) + (f" and {len(told) - most} more" if len(told) > most else "")
