"""What a plan's stream of inputs takes, by discrete events: nothing is computed, and no time passes.

Let the lanes of `lanes_of` run an operator o for input i, on the device that serves i in o's place.

    start(o, i)  = max(free(lane), admitted(i), there(r, i), there(c, i - 1))
                   over the results r that o reads and c that it carries; a lane is free for o when it is done
                   with its works of the rounds before, and with those of this round before o
    end(o, i)    = start(o, i) + seconds(o, i), where the device is not asked for more than it has
    put(o, i)    = max(end(o, i), taken(o, d, i - depth)) over the other lanes d that need o's result, with
                   the depth of that edge; the lane is free from here on
    there(o, i)  = put(o, i) in o's own lane; elsewhere sent(o, d, i) + seconds of the transfer
    sent(o, d, i) = put(o, i); over an exclusive link, or on a bus, not before the transfers there have ended
                   whose turn is before, as on lanes
    taken(o, d, i) = the start of the last operator of d that needs the result
    finished(i)  = the last end(o, i) of the operators that none reads
    admitted(i)  = the last finished(j) of all j <= i - depth of the plan; 0 for the first ones

In its last rounds a lane leaves out inputs that do not come. Operators that are at once on one
device, as the groups of a stage are, together utilise u of it: where u is above 1 each advances at 1 / u of
its speed. `Assumptions` has what can be switched off.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sparsegen.hetero.plans.events import Event, Timeline, rhythm_of, tail_of
from sparsegen.hetero.plans.lanes import (
    Edge,
    Lane,
    Taken,
    Work,
    edges_of,
    in_order,
    lanes_of,
    stand_in,
    taken_by,
    unread,
)
from sparsegen.hetero.plans.plan import Plan, PlannedOperator, PlannedTransfer


@dataclass(frozen=True)
class Assumptions:
    """What a simulation takes for true.

    exclusive_links: of all links, of none and no bus either, or of those that the plan says it of (None).
    overlap: a device computes while its results are sent; else its lane waits for them. contention: operators
    at once on one device slow down beyond its capacity. bounded: an operator holds its result until the queue
    has room. recurrences: carried results are waited for. depth: inputs under way at once; None: the plan's.
    """

    exclusive_links: bool | None = None
    overlap: bool = True
    contention: bool = True
    bounded: bool = True
    recurrences: bool = True
    depth: int | None = None


OperatorSeconds = Callable[[PlannedOperator, str, int], float]
"""Seconds of an operator, on a device, for an input of this number."""
TransferSeconds = Callable[[PlannedTransfer, int], float]


def simulate(
    plan: Plan,
    inputs: int = 1,
    *,
    operator_seconds: OperatorSeconds | None = None,
    transfer_seconds: TransferSeconds | None = None,
    assumptions: Assumptions = Assumptions(),
) -> Timeline:
    """The events of a sound plan's stream of so many inputs, which are all at hand from the start.

    Operators and transfers take the seconds of the plan, or those that the functions give.
    """
    takes = operator_seconds or (lambda operator, device, input: operator.seconds)
    sends = transfer_seconds or (lambda transfer, input: transfer.seconds)
    return _Simulation(plan, inputs, takes, sends, assumptions).run()


@dataclass
class _Running:
    """An operator that runs: `left` seconds of work from `since` on, at `speed`."""

    work: Work
    input: int
    start: float
    left: float
    since: float
    speed: float = 1.0

    @property
    def end(self) -> float:
        return self.since + self.left / self.speed


@dataclass
class _LaneState:
    """A lane of one device: what it runs or holds, and what comes next.

    `held`: an operator that has ended, and whose result has no room. `sending`: transfers that it waits for.
    """

    device: str
    number: int
    queue: deque[tuple[int, int, Work]] = field(default_factory=deque)
    running: _Running | None = None
    held: tuple[int, int, Work] | None = None
    sending: int = 0


class _Sending(NamedTuple):
    """A result on its way to another device, over the edges to lanes there."""

    transfer: PlannedTransfer
    edges: list[Edge]
    input: int
    lane: _LaneState

    @property
    def key(self) -> tuple[str, str, int]:
        """The transfer, and of which input."""
        return self.transfer.operator, self.transfer.target, self.input


class _Simulation:
    """The state of all lanes and links at the time `now`."""

    def __init__(
        self, plan: Plan, inputs: int, takes: OperatorSeconds, sends: TransferSeconds, assumed: Assumptions
    ) -> None:
        self.plan, self.inputs, self.takes, self.sends, self.assumed = plan, inputs, takes, sends, assumed
        self.depth = assumed.depth or plan.depth
        self.planned = lanes_of(plan)
        self.lane_of = {w.operator.name: n for n, lane in enumerate(self.planned) for w in lane.works}
        self.edges: dict[str, list[Edge]] = {}
        for edge in edges_of(plan, self.planned):
            self.edges.setdefault(edge.operator, []).append(edge)
        self.takers = {(edge.last[0], edge.operator): edge for found in self.edges.values() for edge in found}
        self.last = unread(plan)
        self.now = 0.0
        self.events: list[Event] = []
        self.there: set[tuple[str, int, int]] = set()  # operator, lane, input
        self.taken: set[tuple[str, int, int]] = set()
        self.open = [len(self.last)] * inputs  # operators that none reads and that have not ended
        self.admitted, self.finished = [math.nan] * inputs, [math.nan] * inputs
        self.next_input = self.done = 0  # inputs before `done` have all finished
        self.lanes: dict[tuple[str, int], _LaneState] = {}
        self.waiting: list[_Sending] = []
        self.turns: dict[Taken, deque[tuple[str, str, int]]] = {}  # of transfers, on links and buses
        self.busy: set[Taken] = set()
        self.flying: list[tuple[float, _Sending, float]] = []  # end, ..., start
        self._queue()

    def run(self) -> Timeline:
        """Let everything begin that can, and go to the next end, until all is done."""
        while True:
            self._admit()
            while sum(self._advance(lane) for lane in self.lanes.values()) or self._send():
                pass
            self._set_speeds()
            running = [each.running for each in self.lanes.values() if each.running is not None]
            ends = [each.end for each in running] + [each[0] for each in self.flying]
            if not ends:
                break
            self.now = min(ends)
            self._land()
            for lane in self.lanes.values():
                if lane.running is not None and lane.running.end <= self.now:
                    self._end(lane, lane.running)
        assert self.done == self.inputs, "a sound plan does not come to a stop"
        events = tuple(sorted(self.events, key=lambda each: (each.start, each.end)))
        rhythm, tail = rhythm_of(self.plan, self.depth), tail_of(self.plan, self.depth)
        return Timeline(events, tuple(self.admitted), tuple(self.finished), rhythm, tail)

    def _admit(self) -> None:
        while self.next_input < min(self.inputs, self.done + self.depth):
            self.admitted[self.next_input] = self.now
            self.next_input += 1

    def _advance(self, lane: _LaneState) -> bool:
        """Have a lane put what it holds, or begin what comes next, if it can."""
        if lane.held is not None:
            input, number, work = lane.held
            if not self._has_room(work, input):
                return False
            lane.held = None
            self._put(lane, number, work, input)
            return True
        if lane.running is not None or lane.sending or not lane.queue:
            return False
        input, number, work = lane.queue[0]
        if input >= self.next_input or not self._has_all(work, number, input):
            return False
        lane.queue.popleft()
        lane.running = _Running(
            work, input, self.now, self.takes(work.operator, lane.device, input), self.now
        )
        for need in work.needs:
            edge = self.takers.get((work.operator.name, need.operator))
            if edge is not None and need.back == edge.last[1]:
                self.taken.add((need.operator, edge.target, input - need.back))
        return True

    def _has_all(self, work: Work, number: int, input: int) -> bool:
        for need in work.needs:
            source = input - need.back
            ignored = need.back and need.passed and not self.assumed.recurrences
            if source >= 0 and not ignored and (need.operator, number, source) not in self.there:
                return False
        return True

    def _has_room(self, work: Work, input: int) -> bool:
        if not self.assumed.bounded:
            return True
        for edge in self.edges.get(work.operator.name, ()):
            if edge.depth is not None:
                before = input - edge.depth * len(self.plan.replicas)
                if before >= 0 and (edge.operator, edge.target, before) not in self.taken:
                    return False
        return True

    def _set_speeds(self) -> None:
        """Slow down what runs on devices that are asked for more than they have."""
        asked: dict[str, float] = {}
        for lane in self.lanes.values():
            if lane.running is not None:
                share = lane.running.work.operator.utilisation
                asked[lane.device] = asked.get(lane.device, 0.0) + share
        for lane in self.lanes.values():
            running = lane.running
            speed = 1 / max(1.0, asked.get(lane.device, 0.0)) if self.assumed.contention else 1.0
            if running is not None and running.speed != speed:
                running.left = max(0.0, running.left - (self.now - running.since) * running.speed)
                running.since, running.speed = self.now, speed

    def _end(self, lane: _LaneState, running: _Running) -> None:
        name, input = running.work.operator.name, running.input
        self.events.append(
            Event("operator", name, lane.device, "", lane.number, input, running.start, self.now)
        )
        lane.running = None
        lane.held = input, self.lane_of[name], running.work
        if name in self.last:
            self.open[input] -= 1
            if not self.open[input]:
                self.finished[input] = self.now
                while self.done < self.inputs and not self.open[self.done]:
                    self.done += 1

    def _put(self, lane: _LaneState, number: int, work: Work, input: int) -> None:
        """Give a result to its own lane, and send it to the others that need it."""
        self.there.add((work.operator.name, number, input))
        sent: dict[str, _Sending] = {}
        for edge in self.edges.get(work.operator.name, ()):
            if edge.transfer is None:
                self.there.add((edge.operator, edge.target, input))
            else:
                first = _Sending(edge.transfer, [], input, lane)
                sent.setdefault(edge.transfer.target, first).edges.append(edge)
        lane.sending += 0 if self.assumed.overlap else len(sent)
        self.waiting += sent.values()

    def _takes(self, transfer: PlannedTransfer, input: int) -> tuple[Taken, ...]:
        """What a transfer takes alone."""
        assumed = self.assumed.exclusive_links
        if assumed is None:
            return taken_by(self.plan, transfer, input)
        return taken_by(self.plan, replace(transfer, exclusive=True), input) if assumed else ()

    def _send(self) -> bool:
        """Begin the transfers whose turn it is on all that they take; whether there was one."""
        left, begun = list[_Sending](), False
        for each in self.waiting:
            takes = self._takes(each.transfer, each.input)
            if all(self.turns[bus][0] == each.key for bus in takes) and self.busy.isdisjoint(takes):
                for bus in takes:
                    self.turns[bus].popleft()
                self.busy.update(takes)
                self.flying.append((self.now + self.sends(each.transfer, each.input), each, self.now))
                begun = True
            else:
                left.append(each)
        self.waiting = left
        return begun

    def _land(self) -> None:
        """End the transfers that end now."""
        for landed in [each for each in self.flying if each[0] <= self.now]:
            self.flying.remove(landed)
            _, (transfer, edges, input, lane), start = landed
            self.there.update((edge.operator, edge.target, input) for edge in edges)
            lane.sending -= not self.assumed.overlap
            self.busy.difference_update(self._takes(transfer, input))
            target = stand_in(self.plan, transfer.target, input)
            self.events.append(
                Event("transfer", transfer.operator, lane.device, target, lane.number, input, start, self.now)
            )

    def _queue(self) -> None:
        """Line up what each lane has to do, round by round."""
        lined: dict[int, list[tuple[int, int, int, int, Work]]] = {}
        replicas = len(self.plan.replicas)
        for replica in range(replicas):
            for number, lane in enumerate(self.planned):
                if replica < self.inputs:
                    found = lined.setdefault(id(self._lane(lane, replica)), [])
                    found += [
                        (each_round, number, place, each_round - replicas * work.behind, work)
                        for each_round, place, work in in_order(
                            lane, range(replica, self.inputs, replicas), replicas
                        )
                    ]
        for state in self.lanes.values():
            ordered = sorted(lined[id(state)], key=lambda each: each[:3])
            state.queue.extend((input, number, work) for _, number, _, input, work in ordered)
        self._queue_transfers()

    def _queue_transfers(self) -> None:
        """Line up the transfers on exclusive links and buses, round by round."""
        sent = [
            (input + len(self.plan.replicas) * each.behind, place, input, each)
            for place, each in enumerate(self.plan.transfers)
            for input in range(self.inputs)
        ]
        for _, _, input, each in sorted(sent, key=lambda one: one[:3]):
            for bus in self._takes(each, input):
                self.turns.setdefault(bus, deque()).append((each.operator, each.target, input))

    def _lane(self, lane: Lane, input: int) -> _LaneState:
        device = stand_in(self.plan, lane.device, input)
        return self.lanes.setdefault((device, lane.number), _LaneState(device, lane.number))
