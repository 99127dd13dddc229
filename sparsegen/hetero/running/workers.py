"""The threads of an executor: each runs the lanes of one device, and hears of everything by its mailbox.

A mailbox takes any number of messages, so that no thread ever waits to send one. What bounds the queues are
the messages that say that a result was taken: before a worker gives a result away, it waits for those. So a
worker waits at its mailbox alone, and the message that ends it always gets there.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple

from sparsegen.hetero.plans.events import Event
from sparsegen.hetero.plans.lanes import Edge, Work
from sparsegen.hetero.running.buses import Buses
from sparsegen.hetero.running.clock import Clock, begun
from sparsegen.hetero.running.runners import Runner, ended


@dataclass(frozen=True)
class Failure:
    """Stands for the result of an operator that raised, and of those that need it."""

    operator: str
    device: str
    input: int
    error: BaseException


class Admission(NamedTuple):
    """An input for a worker to serve; carried results of inputs before `first` are the initial ones."""

    input: int
    first: int
    arguments: tuple[Any, ...]


class Delivery(NamedTuple):
    """A result from another worker, which may be used from the time `ready` on."""

    operator: str
    input: int
    value: Any
    ready: float


class Taken(NamedTuple):
    """A result has left its edge, so that the queue has room."""

    operator: str
    target: int
    input: int


class Flush(NamedTuple):
    """No input from this number on comes for now: do all that is left of those before."""

    input: int


Message = Admission | Delivery | Taken | Flush | None
"""None: end."""


@dataclass
class Route:
    """An edge from an operator to another worker; `seconds` of its emulated transfer.

    number: of the transfer in the plan, where it takes turns on `buses`.
    """

    edge: Edge
    target: Worker
    seconds: float
    buses: Buses
    number: int | None


@dataclass
class BoundWork:
    """A work of a lane with all that running it takes, for one replica.

    feeds: numbers of the model's inputs that it takes; None for all. uses: how often its own lane needs its
    result. takes: what it takes off edges: operator, lane, inputs back, and the worker that waits for that.
    routes: where its result goes, those together that one transfer serves. reports: the caller wants its
    result.
    """

    work: Work
    runner: Runner
    limit_s: float
    feeds: tuple[int, ...] | None
    uses: int
    reports: bool
    routes: list[list[Route]] = field(default_factory=list)
    takes: list[tuple[str, int, int, Worker]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the operator."""
        return self.work.operator.name


@dataclass
class _Held:
    """A result, from when it may be used, and how often it still will be."""

    value: Any
    ready: float
    uses: int


class _EndError(Exception):
    """The worker is told to end."""


class Worker:
    """A thread that runs the lane `number` of a device: for each input a round of the works of its replica.

    A work that is behind runs in the rounds of later inputs, and when there are none left, at a flush.

    busy: the work that runs, its input, and since when by the monotonic clock; for the caller to look at.
    events: what has happened, in the clock's time, where it records.
    """

    def __init__(
        self,
        device: str,
        number: int,
        *,
        replicas: int,
        cores: Sequence[int],
        results: SimpleQueue[Delivery | None],
        initial: Mapping[str, Any],
        clock: Clock,
        record: bool,
    ) -> None:
        self.device, self.number = device, number
        self.mailbox: SimpleQueue[Message] = SimpleQueue()
        self.works: dict[int, list[BoundWork]] = {}  # by replica
        self.uses: dict[tuple[str, int], int] = {}  # of other workers' results, by replica
        self.busy: tuple[BoundWork, int, float] | None = None
        self.events: list[Event] = []
        self._cores, self._results, self._initial = cores, results, initial
        self._clock, self._record, self._replicas = clock, record, replicas
        self._rounds: list[Admission | Flush] = []
        self._under_way: dict[int, Admission] = {}
        self._held: dict[tuple[str, int], _Held] = {}
        self._taken: dict[tuple[str, int, int], int] = {}  # by operator, lane and replica
        self._kept = 0  # what results of inputs from here on may still be needed
        self._ended = -math.inf  # when the last work did
        self.thread = threading.Thread(target=self._main, name=f"sparsegen {device} {number}", daemon=True)

    def _main(self) -> None:
        if self._cores:
            with contextlib.suppress(OSError):  # they were there: somebody takes them away just now
                os.sched_setaffinity(0, self._cores)
        try:
            while True:
                while not self._rounds:
                    self._receive()
                self._serve(self._rounds.pop(0))
        except _EndError:
            self._held.clear()

    def _serve(self, begun_by: Admission | Flush) -> None:
        """The round of an input; or those in which works that are behind do the last inputs."""
        longest = self._replicas * max(w.work.behind for works in self.works.values() for w in works)
        if isinstance(begun_by, Admission):
            self._under_way[begun_by.input] = begun_by
            self._round(begun_by.input)
            self._under_way.pop(begun_by.input - longest, None)
            return
        for number in range(begun_by.input, begun_by.input + longest):
            self._round(number)
        self._under_way.clear()

    def _round(self, number: int) -> None:
        first = min((each.first for each in self._under_way.values()), default=self._kept)
        if first != self._kept:  # nothing of what came before is under way any more
            self._kept = first
            self._held = {key: held for key, held in self._held.items() if key[1] >= first}
        for bound in self.works.get(number % self._replicas, ()):
            admission = self._under_way.get(number - self._replicas * bound.work.behind)
            if admission is not None:
                self._run(bound, admission)

    def _receive(self) -> None:
        """Take in one message, and wait for it."""
        match self.mailbox.get():
            case None:
                raise _EndError
            case Delivery(operator, input, value, ready):
                self._held[operator, input] = _Held(value, ready, self.uses[operator, input % self._replicas])
            case Taken(operator, target, input):
                self._taken[operator, target, input % self._replicas] = input
            case (Admission() | Flush()) as begun_by:
                self._rounds.append(begun_by)

    def _run(self, bound: BoundWork, admission: Admission) -> None:
        input, name = admission.input, bound.name
        arguments, ready = self._arguments(bound, admission)
        for operator, lane, back, source in bound.takes:
            if input - back >= admission.first:
                source.mailbox.put(Taken(operator, lane, input - back))
        value: Any = next((each for each in arguments if type(each) is Failure), None)
        start = self._clock.now()
        if value is None:
            self.busy = bound, input, time.monotonic()
            begun.time = start if ready is None else min(start, max(ready, self._ended))
            try:
                value = bound.runner(*arguments)
            except BaseException as error:  # the caller raises it again
                value = Failure(name, self.device, input, error)
            self.busy = None
            ended(bound.runner)
        del arguments
        end = self._ended = self._clock.now()
        if self._record:
            self.events.append(Event("operator", name, self.device, "", self.number, input, start, end))
        if bound.reports:
            self._results.put(Delivery(name, input, value, end))
        if bound.uses:
            self._held[name, input] = _Held(value, end, bound.uses)
        for together in bound.routes:
            for route in together:
                self._wait_for_room(route.edge, admission)
        for together in bound.routes:
            self._send(together, input, value)

    def _arguments(self, bound: BoundWork, admission: Admission) -> tuple[list[Any], float | None]:
        """What an operator is called with, as soon as all is there, and since when; None: since now."""
        found, ready = list[Any](), -math.inf
        for need in bound.work.needs:
            key = need.operator, admission.input - need.back
            if key[1] < admission.first:
                if need.passed:
                    found.append(self._initial.get(need.operator))
                continue
            if not need.passed and (need.operator, key[1] % self._replicas) not in self.uses:
                continue  # the lane's own order sees to it
            while key not in self._held:
                self._receive()
            held = self._held[key]
            held.uses -= 1
            if not held.uses:
                del self._held[key]
            ready = max(ready, held.ready)
            if need.passed:
                found.append(held.value)
        if ready > self._clock.now():
            self._clock.wait_until(ready)
        given = admission.arguments
        fed = given if bound.feeds is None else [given[each] for each in bound.feeds]
        return [*found, *fed], ready if math.isfinite(ready) and not fed else None

    def _wait_for_room(self, edge: Edge, admission: Admission) -> None:
        """Until then the device is not free."""
        if edge.depth is None:
            return
        before = admission.input - edge.depth * self._replicas
        key = edge.operator, edge.target, admission.input % self._replicas
        while before >= admission.first and self._taken.get(key, -1) < before:
            self._receive()
            self._ended = self._clock.now()

    def _send(self, routes: Sequence[Route], input: int, value: Any) -> None:
        now, route = self._clock.now(), routes[0]

        def deliver(start: float, ready: float) -> None:
            if route.edge.transfer is not None and self._record:
                target = route.target.device
                event = Event(
                    "transfer", route.edge.operator, self.device, target, self.number, input, start, ready
                )
                self.events.append(event)
            for each in routes:
                each.target.mailbox.put(Delivery(each.edge.operator, input, value, ready))

        if route.number is None:
            deliver(now, now + route.seconds)
        else:
            route.buses.send(route.number, input, now, route.seconds, deliver)
