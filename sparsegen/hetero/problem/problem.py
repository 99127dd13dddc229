"""What a scheduler has to solve: operators, devices, links, in seconds and bytes. Pure data, no model.

A device runs one operator at a time. A result goes over a link once for each device that reads it, in
`latency + bytes / bandwidth`; as soon as it exists, and beside any other transfer unless the link is
`exclusive` or shares a bus. Between two devices without a link nothing goes. An operator runs once, on a
device that has a time for it. What takes no time on any device, and reads nothing or is read by nothing, is
an input or a result: in a stream it keeps no device busy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """One operator: a node of the problem's graph.

    reads: the tasks whose results it needs. carries: those whose results for the input *before* it needs,
    as a recurrent cell needs its state. bytes: of its result. times: seconds by device; a device that is
    not there cannot run it. invocation: seconds by device that it takes more where something that it reads
    comes from another device, or where it reads nothing: what the start of a program costs there. weights:
    bytes that it keeps on a device, see `Store`. group: of tasks that have to share a device; "" for none.
    """

    name: str
    reads: tuple[str, ...] = ()
    bytes: int = 0
    times: Mapping[str, float] = field(default_factory=dict)
    carries: tuple[str, ...] = ()
    invocation: Mapping[str, float] = field(default_factory=dict)
    weights: int = 0
    group: str = ""


@dataclass(frozen=True)
class Link:
    """What connects a device to another, in one direction.

    exclusive: one transfer at a time. buses: names of what it shares with other links that name them, the
    other direction's among them: of all links that name a bus, one transfer at a time. A transfer takes all
    buses of its link for all of its time.
    """

    source: str
    target: str
    latency: float
    bandwidth: float
    exclusive: bool = False
    buses: tuple[str, ...] = ()

    def seconds(self, size: int) -> float:
        """Time of a transfer of so many bytes."""
        return self.latency + size / self.bandwidth


@dataclass(frozen=True)
class Store:
    """The memory of a device.

    memory: bytes of weights that fit at all; None for no limit. cache: bytes of weights that stay between two
    inputs; the rest, in the order in which the device's tasks run, crosses a link of `stream` bytes a second
    for every input, before its task runs.
    """

    memory: int | None = None
    cache: int | None = None
    stream: float = 0.0


@dataclass(frozen=True)
class Problem:
    """Tasks in an order that runs, the devices that may run them, the links between those.

    `stores` are the memories of devices that have limits.
    """

    devices: tuple[str, ...]
    tasks: tuple[Task, ...]
    links: tuple[Link, ...] = ()
    stores: Mapping[str, Store] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """When, on which device, a task runs: seconds from the start of its input."""

    task: str
    device: str
    start: float
    end: float


@dataclass(frozen=True)
class Transfer:
    """When a task's result goes from one device to another."""

    task: str
    source: str
    target: str
    start: float
    end: float


@dataclass(frozen=True)
class Schedule:
    """A solution for one input: every task once, in the order of their starts, and the transfers.

    `bound` is a lower bound of any schedule's makespan; `optimal` is true only where the makespan was
    proved to be the least. `method` found it: "exact", "heft", "greedy", "single", "local search", ...
    """

    runs: tuple[Run, ...]
    transfers: tuple[Transfer, ...]
    makespan: float
    bound: float
    optimal: bool
    method: str


@dataclass(frozen=True)
class Pipelining:
    """A solution for a stream of inputs.

    `placement` has the device of every task, and `runs` and `transfers` tell when those of the first input
    are. All of it happens again for every input, `period` seconds later each, so that devices run tasks of
    several inputs in turn. Or, where `replicas` has more than one entry, input i is served by replica i
    modulo their number, and each is a mapping of the placement's devices to those that stand in for them
    there; each repeats itself after as many periods as there are replicas. `period`: seconds between two
    results in the long run; `bound`: no plan that places all inputs alike, or in equal copies, is below it.
    `latency`: seconds from an input's start to its end, in the stream. `limit`: what the period is bound by
    ("device a", "link a-b", "bus usb", "recurrence x").
    """

    placement: Mapping[str, str]
    period: float
    latency: float
    bound: float
    limit: str
    method: str
    replicas: tuple[Mapping[str, str], ...] = ({},)
    runs: tuple[Run, ...] = ()
    transfers: tuple[Transfer, ...] = ()
