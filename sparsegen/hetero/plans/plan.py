"""A plan: which operator runs on which device, by which implementation, in which order. Pure data.

The simulator and the executor both run it; `plan_json` writes it down, `check` tells whether it is sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sparsegen.cost import AnyOrigin

Goal = Literal["latency", "throughput"]
Form = Literal["sequential", "placed", "pipelined", "copies", "stages"]
"""One device alone; several, for one input; several, for a stream; the whole model on each of several; groups
of operators at once on shares of one device's cores."""


OURS, TORCH, MIXED, EMULATED = "ours", "torch", "mixed", "emulated"
"""Implementations: our kernels; torch's, on cores or a GPU; ours with some of torch's; a table instead."""

PASSED_ON = "passed on"
"""What computes a plan's inputs and its result: nothing does."""

_OF_KIND = {"cpu": (OURS, TORCH, MIXED), "cuda": (TORCH,), "profile": (EMULATED,), "host": ()}


def implementations_on(kind: str) -> tuple[str, ...]:
    """What can compute layers on a device of a kind; on one of another package's, that kind by its name."""
    return _OF_KIND.get(kind, (kind,))


@dataclass(frozen=True)
class PlanDevice:
    """A device of a plan: its `kind` (cpu, cuda, profile, or an outside one) and what it was made of.

    `settings` is its table, or its cores: what a device of that kind is made of again.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedOperator:
    """An operator in its place.

    reads: operators whose results it needs; carries: those whose results for the input before it needs.
    layers: the layers of the model's graph that it consists of. bytes: of what other devices need of its
    result. seconds: what it is
    predicted to take there, all told (its invocation and the weights that it streams, too); `origin` says
    how that is known ("measured", "predicted", "roofline", "table"). start, end: when it runs for the first
    input. utilisation: share of the device's capacity that it takes while it runs. by_torch: layers that
    torch computes within our program, where the implementation is "mixed".
    """

    name: str
    reads: tuple[str, ...]
    carries: tuple[str, ...]
    layers: tuple[str, ...]
    bytes: int
    device: str
    implementation: str
    threads: int
    seconds: float
    origin: AnyOrigin
    start: float
    end: float
    utilisation: float = 1.0
    by_torch: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedTransfer:
    """A result's way to another device: `bytes`, seconds, and when, for the first input.

    exclusive: its link takes one transfer at a time. buses: devices on whose bus it goes: there is one
    transfer at a time on a bus, whichever way it goes. Transfers take turns on both in the plan's order, in
    rounds, as operators do on devices: in round n that for input n - behind * the number of replicas.
    """

    operator: str
    source: str
    target: str
    bytes: int
    seconds: float
    start: float
    end: float
    exclusive: bool = False
    buses: tuple[str, ...] = ()
    behind: int = 0


@dataclass(frozen=True)
class Turn:
    """An operator's place in its device's rounds, where it runs for the input `behind` the round's own."""

    operator: str
    behind: int


@dataclass(frozen=True)
class Group:
    """Operators that run one after the other, on so many threads."""

    operators: tuple[str, ...]
    threads: int


@dataclass(frozen=True)
class Stage:
    """Groups that run at once; the next stage begins when all have ended. `seconds` are predicted."""

    groups: tuple[Group, ...]
    seconds: float


@dataclass(frozen=True)
class Measured:
    """What a run took: of so many inputs; seconds of the first one, and between two results of the stream.

    operators: the median seconds of each, by name.
    """

    inputs: int
    makespan: float
    period: float
    operators: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """Where and when a model's operators run.

    model: what the user called it; fingerprint: a digest of its graph, without the weights' values, "" where
    operators are no model's, but whatever an executor is given; machine: the CPU, as LLVM calls it, where a
    real device takes part, else "". operators: in an order that runs; each device runs its own in this order
    for one input. turns: where devices interleave inputs, all operators of devices, in the order of each
    device's rounds: in round n it runs each of its own once, for input n - behind * the number of replicas,
    where there is such an input. Without turns it runs one input after the other. depth: inputs that may be
    under way at once; 1 for the goal of latency. queue: results that wait between two devices at most, for
    back-pressure. replicas: mappings of the devices that operators name to those that stand in for them;
    input i is served by replica i modulo their number. One empty mapping: no copies. stages: of the form
    "stages" alone, of one device; inputs and the result may be outside of them, on its host. makespan:
    predicted seconds of one input alone; period: predicted seconds between two results of a stream; bound: no
    placement of these operators on these devices has a shorter makespan (or period, for the goal of
    throughput), by these seconds; optimal: nor has any a shorter one than this plan, nor was any alternative
    faster. alternatives: seconds, of the goal, of the plans that were not taken, by what they are
    ("cpu alone", "heft"); reasons: why some were not taken, by the same names, where seconds do not tell.
    measured: of the last run that was written down with it.
    """

    goal: Goal
    form: Form
    model: str
    fingerprint: str
    machine: str
    devices: tuple[PlanDevice, ...]
    operators: tuple[PlannedOperator, ...]
    transfers: tuple[PlannedTransfer, ...]
    makespan: float
    period: float
    bound: float
    optimal: bool
    method: str
    depth: int = 1
    queue: int = 2
    replicas: tuple[Mapping[str, str], ...] = ({},)
    stages: tuple[Stage, ...] = ()
    turns: tuple[Turn, ...] = ()
    alternatives: Mapping[str, float] | None = None
    reasons: Mapping[str, str] | None = None
    measured: Measured | None = None

    @property
    def computing(self) -> tuple[str, ...]:
        """The devices that operators run on by name, without those that pass on inputs and results alone."""
        return tuple(dict.fromkeys(o.device for o in self.operators if o.implementation != PASSED_ON))

    @property
    def emulated(self) -> tuple[str, ...]:
        """The devices that are tables: wherever the plan runs, what they do is emulated by these."""
        return tuple(each.name for each in self.devices if each.kind == "profile")

    @property
    def staged(self) -> frozenset[str]:
        """The names that stages have in their groups."""
        return frozenset(n for stage in self.stages for group in stage.groups for n in group.operators)

    @property
    def staged_kind(self) -> str:
        """The kind of the device that a sound plan's stages are on; "" without stages."""
        kinds = {each.name: each.kind for each in self.devices}
        names = self.staged
        return next((kinds[each.device] for each in self.operators if each.name in names), "")
