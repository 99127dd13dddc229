"""Partial schedules of the exact search: what they are, how they grow, what of them the future sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.instance import NEVER, Instance, Step


@dataclass(frozen=True, slots=True)
class Label:
    """A partial schedule. `live`: of results still to be read, by task: device, end, arrivals at devices."""

    done: int
    last: float
    free: tuple[float, ...]
    buses: tuple[float, ...]
    live: dict[int, tuple[int, float, tuple[float, ...]]]
    held: tuple[int, ...]
    groups: tuple[int, ...]
    before: Label | None
    step: Step
    device: int


class Labels:
    """The labels of one instance, from the empty one to those of which `is_whole` is true."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._all_done = (1 << instance.count) - 1
        self._needs = [sum(1 << read for read in reads) for reads in instance.reads]
        self._readers = [sum(1 << reader for reader in readers) for readers in instance.readers]
        self._place_matters = instance.has_invocation or bool(instance.bus_names)
        self._group_left = [sum(1 << task for task in tasks) for tasks in instance.units]
        self._ready: dict[int, list[int]] = {}

    def empty(self) -> Label:
        """The label of which nothing is done."""
        instance = self._instance
        free, held = (0.0,) * instance.devices, (0,) * instance.devices
        buses, groups = (0.0,) * len(instance.bus_names), (-1,) * len(instance.units)
        return Label(0, 0.0, free, buses, {}, held, groups, None, (-1, -1), -1)

    def is_whole(self, label: Label) -> bool:
        """Whether all tasks are done."""
        return label.done == self._all_done

    def children(self, label: Label) -> Iterator[Label]:
        """Every label with one step more."""
        instance = self._instance
        for task in self._ready_tasks(label.done):
            pinned = label.groups[instance.unit_of[task]]
            for device in instance.domain(task) if pinned < 0 else (pinned,):
                child = self._run(label, task, device)
                if child is not None:
                    yield child
        if label.buses:
            for task, (source, end, arrivals) in label.live.items():
                for device, arrival in enumerate(arrivals):
                    taken = instance.buses[source][device]
                    if arrival == NEVER and taken and self._is_wanted(label, task, device):
                        start = max([end, *(label.buses[bus] for bus in taken)])
                        if start >= label.last or instance.delay[task][source][device] == 0:
                            yield self._send(label, task, device, max(start, label.last))

    def _ready_tasks(self, done: int) -> list[int]:
        """Tasks to come that read nothing but what is done."""
        found = self._ready.get(done)
        if found is None:
            found = self._ready[done] = [
                task for task, needs in enumerate(self._needs) if not (needs & ~done or done >> task & 1)
            ]
        return found

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
            done, start, free, label.buses, live, held, self._pinned(label, task, device, done), label,
            (task, -1), device,
        )  # fmt: skip

    def _arrivals(self, task: int, device: int, end: float) -> tuple[float, ...]:
        """Of a result at each device; NEVER over a bus, until it is sent."""
        delays, buses = self._instance.delay[task][device], self._instance.buses[device]
        return tuple(NEVER if taken else end + delay for taken, delay in zip(buses, delays, strict=True))

    def _pinned(self, label: Label, task: int, device: int, done: int) -> tuple[int, ...]:
        """The devices of the groups that have a member to come."""
        if not self._instance.has_groups:
            return label.groups
        unit = self._instance.unit_of[task]
        now = device if self._group_left[unit] & ~done else -1
        return (*label.groups[:unit], now, *label.groups[unit + 1 :])

    def _send(self, label: Label, task: int, device: int, start: float) -> Label:
        source, end, arrivals = label.live[task]
        arrival = start + self._instance.delay[task][source][device]
        live = dict(label.live)
        live[task] = (source, end, (*arrivals[:device], arrival, *arrivals[device + 1 :]))
        taken = self._instance.buses[source][device]
        buses = tuple(arrival if bus in taken else free for bus, free in enumerate(label.buses))
        return Label(
            label.done,
            start,
            label.free,
            buses,
            live,
            label.held,
            label.groups,
            label,
            (task, device),
            source,
        )

    def key(self, label: Label) -> tuple[object, ...]:
        """Labels with the same key are compared."""
        places = tuple(label.live[task][0] for task in sorted(label.live)) if self._place_matters else ()
        return label.done, places, label.groups if self._instance.has_groups else ()

    def vector(self, label: Label) -> tuple[float, ...]:
        """What the future sees; less is better, everywhere."""
        last = label.last
        free = [max(last, each) for each in label.free]
        values = [last, *free, *(max(last, each) for each in label.buses)]
        if self._instance.has_stores:
            values += label.held
        for task in sorted(label.live):
            _, end, arrivals = label.live[task]
            if label.buses:
                values.append(max(last, end))
            values += map(max, arrivals, free)
        return tuple(values)

    def candidate(self, label: Label, method: str) -> Candidate:
        """What a whole label stands for."""
        placement: list[int] = [0] * self._instance.count
        steps: list[Step] = []
        while label.before is not None:
            if label.step[1] < 0:
                placement[label.step[0]] = label.device
            steps.append(label.step)
            label = label.before
        readers = self._instance.readers
        wanted = [  # without what was sent to where nobody reads it
            (task, device)
            for task, device in reversed(steps)
            if device < 0 or any(placement[reader] == device for reader in readers[task])
        ]
        return Candidate(placement, tuple(wanted), method)
