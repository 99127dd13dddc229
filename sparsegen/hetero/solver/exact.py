"""The least makespan of any DAG: best-first search over down-sets with Pareto dominance, exact where it ends.

A label is a partial schedule, made by appending steps in the order of their starts; a step runs a task, or
sends a result over an exclusive link, for there the order of transfers is a decision too. Its down-set is the
set of tasks done. What the future sees of a label is: when each device, and each exclusive link, is free; when
each result that is still to be read arrives at each device; the weights on each device; and the start of the
last step. All these times count as no earlier than that start, since no later step starts before it. Of two
labels with the same down-set, of which one is nowhere later, the other is dropped. (Where the device of a
result matters beyond its arrival, for `invocation` or for a transfer that is still to be sent, and where a
group has its device, labels are only compared with their like.)

A step that could have started before the last one is not appended: the same steps in another order give a
schedule that is as early everywhere, and earlier on that step's device. (Steps that take no time excepted.)

A label's bound is the greatest of: the ends so far; for each task that can be next on some path, its earliest
end, and its tail after that; for several prices of the devices (see `bounds`), the priced load of what is to
be done, added to the priced times at which the devices are free. The label with the least bound is extended
first, so that the search ends when that bound is not below the best schedule known; the least bound of the
labels left over is a bound of the optimum, should the search be cut short.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.frontier import Frontier
from sparsegen.hetero.solver.instance import NEVER, Instance, Step
from sparsegen.hetero.solver.remaining import Remaining


@dataclass(frozen=True, slots=True)
class Label:
    """A partial schedule. `live`: of results still to be read, (device, end, arrivals at devices), by task."""

    done: int
    last: float
    free: tuple[float, ...]
    links: tuple[float, ...]
    live: dict[int, tuple[int, float, tuple[float, ...]]]
    held: tuple[int, ...]
    groups: tuple[int, ...]
    before: Label | None
    step: Step
    device: int


@dataclass(frozen=True)
class Found:
    """The search's outcome: a better candidate, if there was one; a bound; whether the search ended."""

    better: Candidate | None
    bound: float
    complete: bool


def search(instance: Instance, known: float, *, most_labels: int, until: float = NEVER) -> Found:
    """Look for a schedule shorter than `known`, until a time of `time.monotonic`, within so many labels."""
    return _Search(instance, known).run(most_labels, until)


class _Search:
    def __init__(self, instance: Instance, known: float) -> None:
        self._instance = instance
        self._best, self._goal = known, None
        self._remaining = Remaining(instance)
        self._frontier = Frontier()
        self._all_done = (1 << instance.count) - 1
        self._needs = [sum(1 << read for read in reads) for reads in instance.reads]
        self._readers = [sum(1 << reader for reader in readers) for readers in instance.readers]
        self._place_matters = instance.has_invocation or bool(instance.exclusive_links)
        self._group_left = [sum(1 << task for task in tasks) for tasks in instance.units]

    def run(self, most_labels: int, until: float) -> Found:
        """See `search`."""
        instance = self._instance
        free, held = (0.0,) * instance.devices, (0,) * instance.devices
        links, groups = (0.0,) * len(instance.exclusive_links), (-1,) * len(instance.units)
        root = Label(0, 0.0, free, links, {}, held, groups, None, (-1, -1), -1)
        count = itertools.count()
        queue = [(self._remaining.bound(root), 0.0, next(count), root, ())]
        goal: Label | None = None
        while queue:
            bound, _, number, label, vector = heapq.heappop(queue)
            if bound >= self._best * (1 - ROUNDING):
                break
            if number > most_labels or time.monotonic() > until:
                return Found(self._candidate(goal), bound, False)
            if not self._frontier.keeps(self._key(label), vector):
                continue
            for child in self._children(label):
                least = self._remaining.bound(child)
                if least >= self._best * (1 - ROUNDING):
                    continue
                if child.done == self._all_done:
                    self._best, goal = max(child.free), child
                    continue
                values = self._vector(child)
                if self._frontier.add(self._key(child), values):
                    heapq.heappush(queue, (least, child.last, next(count), child, values))
        return Found(self._candidate(goal), self._best, True)

    def _children(self, label: Label) -> Iterator[Label]:
        instance = self._instance
        for task, needs in enumerate(self._needs):
            if needs & ~label.done or label.done >> task & 1:
                continue
            pinned = label.groups[instance.unit_of[task]]
            for device in instance.domain(task) if pinned < 0 else (pinned,):
                child = self._run(label, task, device)
                if child is not None:
                    yield child
        if label.links:
            for task, (source, end, arrivals) in label.live.items():
                for device, arrival in enumerate(arrivals):
                    link = instance.exclusive[source][device]
                    if arrival == NEVER and link >= 0 and self._is_wanted(label, task, device):
                        start = max(end, label.links[link])
                        if start >= label.last or instance.delay[task][source][device] == 0:
                            yield self._send(label, task, device, link, max(start, label.last))

    def _is_wanted(self, label: Label, task: int, device: int) -> bool:
        """Whether a task to come may read a result on a device."""
        instance = self._instance
        return any(
            not label.done >> reader & 1
            and device in instance.domain(reader)
            and label.groups[instance.unit_of[reader]] in (-1, device)
            for reader in instance.readers[task]
        )

    def _run(self, label: Label, task: int, device: int) -> Label | None:
        """The label with one task more; None where it may not run there, or not as the last to start."""
        instance = self._instance
        start, reads = label.free[device], instance.reads[task]
        remote = not reads
        for read in reads:
            source, _, arrivals = label.live[read]
            start = max(start, arrivals[device])
            remote |= source != device
        seconds = instance.seconds[task][device]
        if remote:
            seconds += instance.invocation[task][device]
        held = label.held
        if instance.has_stores:
            more = held[device] + instance.weights[task]
            if more > instance.memory[device]:
                return None
            cache = instance.cache[device]
            if cache < NEVER:
                seconds += (max(0.0, more - cache) - max(0.0, held[device] - cache)) * instance.stream[device]
            held = (*held[:device], more, *held[device + 1 :])
        if start == NEVER or (start < label.last and seconds > 0):
            return None
        start = max(start, label.last)
        done, end = label.done | 1 << task, start + seconds
        live = {key: value for key, value in label.live.items() if self._readers[key] & ~done}
        if self._readers[task]:
            live[task] = (device, end, self._arrivals(task, device, end))
        free = (*label.free[:device], end, *label.free[device + 1 :])
        return Label(
            done, start, free, label.links, live, held, self._pinned(label, task, device, done), label,
            (task, -1), device,
        )  # fmt: skip

    def _arrivals(self, task: int, device: int, end: float) -> tuple[float, ...]:
        """Of a result at each device; NEVER over an exclusive link, until it is sent."""
        instance = self._instance
        delays, exclusive = instance.delay[task][device], instance.exclusive[device]
        return tuple(
            NEVER if exclusive[target] >= 0 else end + delay for target, delay in enumerate(delays)
        )

    def _pinned(self, label: Label, task: int, device: int, done: int) -> tuple[int, ...]:
        """The devices of the groups that have a member to come."""
        if not self._instance.has_groups:
            return label.groups
        unit = self._instance.unit_of[task]
        now = device if self._group_left[unit] & ~done else -1
        return (*label.groups[:unit], now, *label.groups[unit + 1 :])

    def _send(self, label: Label, task: int, device: int, link: int, start: float) -> Label:
        source, end, arrivals = label.live[task]
        arrival = start + self._instance.delay[task][source][device]
        live = dict(label.live)
        live[task] = (source, end, (*arrivals[:device], arrival, *arrivals[device + 1 :]))
        links = (*label.links[:link], arrival, *label.links[link + 1 :])
        return Label(
            label.done, start, label.free, links, live, label.held, label.groups, label, (task, device), source
        )

    def _key(self, label: Label) -> tuple[object, ...]:
        """Labels with the same key are compared."""
        places = tuple(label.live[task][0] for task in sorted(label.live)) if self._place_matters else ()
        return label.done, places, label.groups if self._instance.has_groups else ()

    def _vector(self, label: Label) -> tuple[float, ...]:
        """What the future sees; less is better, everywhere."""
        last = label.last
        free = [max(last, each) for each in label.free]
        values = [last, *free, *(max(last, each) for each in label.links)]
        if self._instance.has_stores:
            values += label.held
        for task in sorted(label.live):
            _, end, arrivals = label.live[task]
            if label.links:
                values.append(max(last, end))
            values += map(max, arrivals, free)
        return tuple(values)

    def _candidate(self, label: Label | None) -> Candidate | None:
        if label is None:
            return None
        placement, steps = [0] * self._instance.count, []
        while label is not None and label.before is not None:
            if label.step[1] < 0:
                placement[label.step[0]] = label.device
            steps.append(label.step)
            label = label.before
        return Candidate(placement, tuple(reversed(steps)), "exact")
