"""A solution before it is timed: where tasks run, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from sparsegen.hetero.solver.instance import Instance, Order, Placement, Step
from sparsegen.hetero.solver.retime import Timeline, replay


@dataclass(frozen=True)
class Candidate:
    """A placement, the steps in which it runs, and the `method` that found it."""

    placement: Placement
    steps: tuple[Step, ...]
    method: str

    @classmethod
    def of(cls, placement: Placement, order: Order, method: str) -> Candidate:
        """Tasks in an order; results are sent when they are needed."""
        return cls(placement, tuple((task, -1) for task in order), method)

    @property
    def order(self) -> Order:
        """The tasks alone."""
        return [task for task, device in self.steps if device < 0]

    def timeline(self, instance: Instance) -> Timeline:
        """When it all happens."""
        return replay(instance, self.placement, self.steps)
