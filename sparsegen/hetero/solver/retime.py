"""When tasks and transfers happen: the one place that turns a placement and an order into a schedule.

The equations, for task v on device d, in the order in which a device's tasks are appended:

    arrival(u, d)  = end(u)                              where u is on d
                   = end(u) + delay(u, d)                over a link without a bus
                   = max(end(u), its buses free) + delay(u, d)    over one with buses, in the order of sending
    start(v)       = max(end of the task before on d, arrival(u, d) for all u that v reads)
    end(v)         = start(v) + seconds(v, d) + invocation(v, d) [v reads nothing, or from another device]
                     + streamed(v, d) / stream(d)
    streamed(v, d) = the bytes of v's weights past the cache, after those of the tasks before on d

A result goes to a device once, as soon as it exists; over a link with a bus (its own, where
it is exclusive) when it is sent, or else right before the first task that needs it there is appended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparsegen.hetero.problem.problem import Run, Schedule, Transfer
from sparsegen.hetero.solver.instance import NEVER, Instance, Step


class Timeline:
    """A schedule that grows: tasks and transfers are appended, each at the earliest time that it can have.

    ends[task], placed[task] (-1: not yet), free[device], arrivals[task, device].
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.starts = [NEVER] * instance.count
        self.ends = [NEVER] * instance.count
        self.placed = [-1] * instance.count
        self.free = [0.0] * instance.devices
        self.held = [0] * instance.devices
        self.arrivals: dict[tuple[int, int], float] = {}
        self._bus_free = [0.0] * len(instance.bus_names)
        self._sent: dict[tuple[int, int], float] = {}

    def peek(self, task: int, device: int) -> tuple[float, float]:
        """Start and end that a task would have on a device; NEVER where a link is missing."""
        instance = self._instance
        start, buses = self.free[device], list(self._bus_free)
        for read in self._in_order(task):
            start = max(start, self._arrival(read, device, buses)[1])
        seconds = instance.seconds[task][device] + self._streaming(task, device)
        reads = instance.reads[task]
        if not reads or any(self.placed[read] != device for read in reads):
            seconds += instance.invocation[task][device]
        return start, start + seconds

    def append(self, task: int, device: int) -> None:
        """Run a task on a device after all that are there, and send it what it needs."""
        start, end = self.peek(task, device)
        for read in self._in_order(task):
            if self.placed[read] != device:
                self.send(read, device)
        self.starts[task], self.ends[task], self.placed[task] = start, end, device
        self.free[device] = end
        self.held[device] += self._instance.weights[task]

    def send(self, task: int, device: int) -> None:
        """Send the result of a task to a device, unless it is on its way there."""
        if (task, device) in self.arrivals:
            return
        began, arrival = self._arrival(task, device, self._bus_free)
        self._sent[task, device], self.arrivals[task, device] = began, arrival

    def seconds(self) -> list[float]:
        """What each task takes, once all are there."""
        return [end - start for start, end in zip(self.starts, self.ends, strict=True)]

    def makespan(self) -> float:
        """The end of what is appended."""
        return max(self.free)

    def schedule(self, bound: float, *, optimal: bool, method: str) -> Schedule:
        """What was appended, as data, in the order of the starts."""
        instance = self._instance
        names, devices = instance.names, instance.device_names
        order = sorted(range(instance.count), key=lambda task: (self.starts[task], self.ends[task], task))
        runs = [Run(names[v], devices[self.placed[v]], self.starts[v], self.ends[v]) for v in order]
        transfers = [
            Transfer(
                names[task], devices[self.placed[task]], devices[device], self._sent[task, device], arrival
            )
            for (task, device), arrival in self.arrivals.items()
        ]
        transfers.sort(key=lambda each: (each.start, each.end, each.task, each.target))
        return Schedule(tuple(runs), tuple(transfers), self.makespan(), bound, optimal, method)

    def _in_order(self, task: int) -> Sequence[int]:
        """What a task reads, the first to end first: so a bus delivers the last of them earliest."""
        reads = self._instance.reads[task]
        return sorted(reads, key=self.ends.__getitem__) if self._bus_free and len(reads) > 1 else reads

    def _arrival(self, task: int, device: int, buses: list[float]) -> tuple[float, float]:
        """Start and end of a result's way to a device; takes its time from its `buses`."""
        source, end = self.placed[task], self.ends[task]
        if source == device:
            return end, end
        if (task, device) in self.arrivals:
            return end, self.arrivals[task, device]
        delay, taken = self._instance.delay[task][source][device], self._instance.buses[source][device]
        start = max([end, *(buses[bus] for bus in taken)])
        for bus in taken:
            buses[bus] = start + delay
        return start, start + delay

    def _streaming(self, task: int, device: int) -> float:
        """Seconds in which the weights of a task past the cache cross to the device."""
        instance = self._instance
        if instance.cache[device] == NEVER:
            return 0.0
        held, cache = self.held[device], instance.cache[device]
        past = max(0.0, held + instance.weights[task] - cache) - max(0.0, held - cache)
        return past * instance.stream[device]


def retime(instance: Instance, placement: Sequence[int], order: Iterable[int]) -> Timeline:
    """The timeline of tasks in an order, each on its device."""
    return replay(instance, placement, ((task, -1) for task in order))


def replay(instance: Instance, placement: Sequence[int], steps: Iterable[Step]) -> Timeline:
    """The timeline of steps: tasks that run, and results that are sent ahead over buses."""
    timeline = Timeline(instance)
    for task, device in steps:
        if device < 0:
            timeline.append(task, placement[task])
        else:
            timeline.send(task, device)
    return timeline


def is_allowed(instance: Instance, placement: Sequence[int]) -> bool:
    """Whether a placement keeps to devices, links, groups and memory."""
    for task, reads in enumerate(instance.reads):
        device = placement[task]
        if instance.seconds[task][device] == NEVER:
            return False
        if any(not instance.linked(read, placement[read], device) for read in reads):
            return False
    if any(placement[tasks[0]] != placement[task] for tasks in instance.units for task in tasks):
        return False
    return fits_memory(instance, placement)


def fits_memory(instance: Instance, placement: Sequence[int]) -> bool:
    """Whether the weights on each device fit its memory."""
    if not instance.has_memory:
        return True
    held = [0] * instance.devices
    for task, device in enumerate(placement):
        held[device] += instance.weights[task]
    return all(size <= memory for size, memory in zip(held, instance.memory, strict=True))
