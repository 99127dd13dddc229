"""Where the next task may go: devices that links, groups and memory leave; and some placement, by search."""

from __future__ import annotations

from sparsegen.errors import ProblemError
from sparsegen.hetero.solver.instance import Instance, Placement

_MOST_TRIES = 200_000


class Places:
    """The units that are on a device, and what is left of the memories."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.unit_device = [-1] * len(instance.units)
        self._left = list(instance.memory)

    def of(self, task: int) -> list[int]:
        """Devices that a task may go to, by the tasks that are there."""
        unit = self._instance.unit_of[task]
        return [device for device in self._domain(unit) if self._reached(unit, device)]

    def put(self, task: int, device: int) -> None:
        """Put a task, and with it all of its group, on a device."""
        unit = self._instance.unit_of[task]
        if self.unit_device[unit] < 0:
            self.unit_device[unit] = device
            self._left[device] -= self._instance.unit_weights[unit]

    def take(self, unit: int) -> None:
        """Take a unit off its device again."""
        self._left[self.unit_device[unit]] += self._instance.unit_weights[unit]
        self.unit_device[unit] = -1

    def _domain(self, unit: int) -> list[int]:
        instance = self._instance
        if self.unit_device[unit] >= 0:
            return [self.unit_device[unit]]
        if not instance.has_memory:
            return instance.domains[unit]
        size = instance.unit_weights[unit]
        return [device for device in instance.domains[unit] if size <= self._left[device]]

    def _reached(self, unit: int, device: int) -> bool:
        """Whether links lead there from all that the unit reads, and on to all that reads it, so far."""
        instance = self._instance
        for task in instance.units[unit]:
            for read in instance.reads[task]:
                source = self.unit_device[instance.unit_of[read]]
                if source >= 0 and not instance.linked(read, source, device):
                    return False
            for reader in instance.readers[task]:
                target = self.unit_device[instance.unit_of[reader]]
                if target >= 0 and not instance.linked(task, device, target):
                    return False
        return True


def some_placement(instance: Instance) -> Placement:
    """A placement that is allowed: a depth-first search, units with the most weights first.

    Raises ProblemError where there is none, or none was found in a number of tries.
    """
    places = Places(instance)
    units = sorted(range(len(instance.units)), key=lambda unit: (-instance.unit_weights[unit], unit))
    first = [instance.units[unit][0] for unit in units]
    options = [_by_time(instance, places.of(first[0]), units[0])]
    for _ in range(_MOST_TRIES):
        depth = len(options) - 1
        if places.unit_device[units[depth]] >= 0:
            places.take(units[depth])
        if not options[-1]:
            options.pop()
            if not options:
                raise ProblemError(_no_placement(instance, proved=True))
            continue
        places.put(first[depth], options[-1].pop(0))
        if depth + 1 == len(units):
            return [places.unit_device[unit] for unit in instance.unit_of]
        options.append(_by_time(instance, places.of(first[depth + 1]), units[depth + 1]))
    raise ProblemError(_no_placement(instance, proved=False))


def _by_time(instance: Instance, devices: list[int], unit: int) -> list[int]:
    return sorted(devices, key=lambda device: sum(instance.seconds[v][device] for v in instance.units[unit]))


def _no_placement(instance: Instance, *, proved: bool) -> str:
    memories = ", groups and memories" if instance.has_memory else " and groups"
    found = "there is no placement" if proved else f"no placement was found in {_MOST_TRIES:,} tries"
    return (
        f"{found} of the operators that keeps to their devices, the links{memories}: add a link, a time or "
        "memory"
    )
