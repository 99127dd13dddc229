"""A problem in numbers: tasks and devices by index, for the inner loops of the solvers."""

from __future__ import annotations

import math
from collections import defaultdict

from sparsegen.errors import ProblemError
from sparsegen.hetero.problem.problem import Problem, Store

NEVER = math.inf
Order = list[int]
"""Tasks so that each comes after all that it reads."""
Placement = list[int]
"""The device of each task."""
Step = tuple[int, int]
"""(task, -1): run the task on the device that it is placed on; (task, device): send its result there."""


class Instance:
    """A sound problem, tasks numbered in its order, devices in theirs. Not to be changed.

    count, devices: how many tasks and devices. reads, readers: of a task. seconds[task][device]: NEVER where
    the device cannot run it. invocation[task][device], weights[task]. delay[task][a][b]: of the transfer of
    a task's result; 0 where a is b, NEVER without a link. buses[a][b]: what the link from a to b takes one
    transfer at a time of, by number: itself, where it is exclusive, and the buses that it shares; bus_names
    tells what those are. memory[device], cache[device]: NEVER without a limit; stream[device]: seconds a
    byte. passing[task]: whether it is an input or a result, which takes no time and keeps no device busy.
    units: the tasks that have to share a device, together, the others alone; unit_of[task]. domains[unit]:
    the devices that it may be on, without those that a missing link rules out.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.names = [task.name for task in problem.tasks]
        self.device_names = list(problem.devices)
        self.count, self.devices = len(self.names), len(problem.devices)
        number = {name: index for index, name in enumerate(self.names)}
        device = {name: index for index, name in enumerate(problem.devices)}
        self.reads = [[number[name] for name in task.reads] for task in problem.tasks]
        self.carries = [[number[name] for name in task.carries] for task in problem.tasks]
        self.readers: list[list[int]] = [[] for _ in self.names]
        for task, reads in enumerate(self.reads):
            for read in reads:
                self.readers[read].append(task)
        self.seconds = [[task.times.get(name, NEVER) for name in device] for task in problem.tasks]
        self.invocation = [[task.invocation.get(name, 0.0) for name in device] for task in problem.tasks]
        self.has_invocation = any(any(row) for row in self.invocation)
        self.passing = [
            not (task.reads and readers) and not any((*task.times.values(), *task.invocation.values()))
            for task, readers in zip(problem.tasks, self.readers, strict=True)
        ]
        self.weights = [task.weights for task in problem.tasks]
        self._take_links(device)
        self._take_stores()
        self._take_units()
        self._rule_out()

    def domain(self, task: int) -> list[int]:
        """The devices that a task may be on."""
        return self.domains[self.unit_of[task]]

    def linked(self, task: int, source: int, target: int) -> bool:
        """Whether a task's result gets from one device to another."""
        return self.delay[task][source][target] < NEVER

    def _take_links(self, device: dict[str, int]) -> None:
        span = range(self.devices)
        self.buses: list[list[tuple[int, ...]]] = [[()] * self.devices for _ in span]
        numbers: dict[object, int] = {}
        self.bus_names: list[str] = []
        self.delay = [
            [[0.0 if source == target else NEVER for target in span] for source in span] for _ in self.names
        ]
        for link in self.problem.links:
            source, target = device[link.source], device[link.target]
            for task, each in enumerate(self.problem.tasks):
                self.delay[task][source][target] = link.seconds(each.bytes)
            taken: dict[object, str] = {name: f"bus {name}" for name in link.buses}
            if link.exclusive:
                taken[source, target] = f"link {link.source}-{link.target}"
            self.bus_names += [told for key, told in taken.items() if key not in numbers]
            self.buses[source][target] = tuple(numbers.setdefault(key, len(numbers)) for key in taken)

    def _take_stores(self) -> None:
        stores = [self.problem.stores.get(name, Store()) for name in self.device_names]
        self.memory = [NEVER if store.memory is None else store.memory for store in stores]
        self.cache = [NEVER if store.cache is None else store.cache for store in stores]
        self.stream = [1 / store.stream if store.stream else 0.0 for store in stores]
        self.has_memory = any(size < NEVER for size in self.memory)
        self.has_stores = self.has_memory or any(size < NEVER for size in self.cache)

    def _take_units(self) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(self.problem.tasks):
            groups[f"group {each.group}" if each.group else f"task {number}"].append(number)
        self.units = list(groups.values())
        self.unit_of = [0] * self.count
        for unit, tasks in enumerate(self.units):
            for task in tasks:
                self.unit_of[task] = unit
        self.has_groups = len(self.units) < self.count
        self.unit_weights = [sum(self.weights[task] for task in tasks) for tasks in self.units]

    def _rule_out(self) -> None:
        """Find the units' domains: arc consistency over the edges that need a link.

        Raises ProblemError where a unit is left without a device.
        """
        self.domains = [
            [device for device in range(self.devices) if self._fits(unit, device)]
            for unit in range(len(self.units))
        ]
        for unit, domain in enumerate(self.domains):
            if not domain:
                raise ProblemError(self._nowhere(unit))
        changed = True
        while changed:
            changed = False
            for task, reads in enumerate(self.reads):
                for read in reads:
                    changed |= self._narrow(read, task)

    def _fits(self, unit: int, device: int) -> bool:
        return self.unit_weights[unit] <= self.memory[device] and all(
            self.seconds[task][device] < NEVER for task in self.units[unit]
        )

    def _narrow(self, read: int, task: int) -> bool:
        """Rule out devices of a task and of one that it reads between which nothing can go."""
        sources, targets = self.domain(read), self.domain(task)
        near = [a for a in sources if any(self.linked(read, a, b) for b in targets)]
        far = [b for b in targets if any(self.linked(read, a, b) for a in sources)]
        if not near or not far:
            raise ProblemError(
                f"operator {self.names[task]!r} reads {self.names[read]!r}, and no link leads from "
                f"{self._told(sources)}, where that can run, to {self._told(targets)}: add a link, or a time "
                "on the same device"
            )
        self.domains[self.unit_of[read]] = near
        if self.unit_of[read] == self.unit_of[task]:
            return len(near) < len(sources)
        self.domains[self.unit_of[task]] = far
        return len(near) < len(sources) or len(far) < len(targets)

    def _nowhere(self, unit: int) -> str:
        tasks = self.units[unit]
        told = ", ".join(repr(self.names[task]) for task in tasks[:4])
        if len(tasks) == 1:
            return (
                f"operator {told} keeps {self.weights[tasks[0]]:,} bytes of weights, more than the memory of "
                "any device that can run it: give it a time on another device"
            )
        group = self.problem.tasks[tasks[0]].group
        return (
            f"no device can run, and has the memory for, all of the group {group!r} ({told}"
            f"{', ...' if len(tasks) > 4 else ''}): give them times on one device, or split the group"
        )

    def _told(self, devices: list[int]) -> str:
        return " or ".join(self.device_names[device] for device in devices)
