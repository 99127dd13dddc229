"""The ways to compute a core operator: what each may be used for, what it costs, and how it is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsegen.cost import Cost
from sparsegen.graph import Layer
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.lowering.kernel import Kernel

if TYPE_CHECKING:
    from sparsegen.kernels.registry import Context

CPU = "cpu"
"""The kind of device that kernels run on."""


class Implementation(ABC):
    """One way to compute the layers of a core operator.

    name: no other implementation of the core has it. kinds: of the kernels that it builds, as reports call
    them. device: the kind that it runs on.

    Another package registers instances by an entry point of the group `sparsegen.implementations`: a function
    that gives pairs of a core operator's class and an instance. What it answers and raises is looked at then:
    see `kernels.outside`.
    """

    name: str
    kinds: tuple[str, ...]
    device: str = CPU

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Why it cannot compute a layer, as a phrase for people; None where it can."""
        return None

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """Whether a schedule that a caller gives for the layer is meant for this implementation."""
        return False

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """Why a schedule that it takes cannot be, and what can be; None where it can."""
        return None

    @abstractmethod
    def offer(self, layer: Layer, context: Context) -> Offer:
        """The best that it can do for a layer that it accepts, without tuning."""

    def space(self, layer: Layer, context: Context) -> Space | None:
        """The schedules that tuning may try for a layer that it accepts; None where there is no choice."""
        return None

    @abstractmethod
    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """The kernel of a layer that it accepts, under the schedule of an offer or one without a fault."""


@dataclass(frozen=True, eq=False)
class Offer:
    """What an implementation would do for a layer: under which schedule, in which format, at which cost."""

    implementation: Implementation
    cost: Cost
    schedule: KernelSchedule | None = None
    format: str = "dense"


Builder = Callable[[Layer, "Context"], Kernel]
CostModel = Callable[[Layer, "Context"], Cost]
SpaceBuilder = Callable[[Layer, "Context"], Space]


class Sole(Implementation):
    """The only implementation of a core operator, which has one kernel for all of its layers.

    `builder` finds the schedule itself, where there is one to find.
    """

    def __init__(self, name: str, kinds: tuple[str, ...], builder: Builder, cost: CostModel) -> None:
        self.name = name
        self.kinds = kinds
        self.builder = builder
        self.cost = cost
        self.space_builder: SpaceBuilder | None = None

    def offer(self, layer: Layer, context: Context) -> Offer:
        """Its kernel."""
        return Offer(self, self.cost(layer, context))

    def space(self, layer: Layer, context: Context) -> Space | None:
        """What was registered as its space."""
        return None if self.space_builder is None else self.space_builder(layer, context)

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """What its builder makes."""
        return self.builder(layer, context)
