"""A stream of inputs that keeps to a periodic schedule's order, by names: how late it gets."""

from __future__ import annotations

from sparsegen.hetero.problem.problem import Pipelining, Problem

INPUTS = 60


def latest(problem: Problem, found: Pipelining) -> float:
    """Seconds by which anything ends later than in the schedule, at most, in one copy.

    Devices and buses keep to the schedule's order, and begin as soon as they can. What takes no time and
    reads nothing, or is read by nothing, does not keep its device; what takes none goes before what begins at
    the same time.
    """
    read = {name for task in problem.tasks for name in task.reads}
    tasks = {task.name: task for task in problem.tasks}
    passing = {
        task.name
        for task in problem.tasks
        if not any((*task.times.values(), *task.invocation.values()))
        if not task.reads or task.name not in read
    }
    links = {(link.source, link.target): link for link in problem.links}
    period, place = found.period * len(found.replicas), {name: at for at, name in enumerate(tasks)}
    events = [
        (round(run.start + i * period, 12), run.end > run.start, i, place[run.task], 0, run)
        for run in found.runs
        for i in range(INPUTS)
    ]
    events += [
        (round(each.start + i * period, 12), each.end > each.start, i, place[each.task], 1, each)  # type: ignore[misc]
        for each in found.transfers
        for i in range(INPUTS)
    ]
    free: dict[object, float] = {}
    there: dict[tuple[str, str, int], float] = {}
    late = 0.0
    for _, _, i, _, kind, each in sorted(events, key=lambda event: event[:5]):
        seconds = each.end - each.start
        if kind:
            link = links[each.source, each.target]  # type: ignore[attr-defined]
            takes: list[object] = [("bus", name) for name in link.buses]
            takes += [(link.source, link.target)] if link.exclusive else []
            ready, where = [there[each.task, link.source, i]], link.target
        else:
            takes, where = [] if each.task in passing else [each.device], each.device
            ready = [there[name, where, i] for name in tasks[each.task].reads]
            ready += [there[name, where, i - 1] for name in tasks[each.task].carries if i]
        end = max([0.0, *ready, *(free.get(taken, 0.0) for taken in takes)]) + seconds
        free.update(dict.fromkeys(takes, end))
        there[each.task, where, i] = end
        late = max(late, end - each.end - i * period)
    return late
