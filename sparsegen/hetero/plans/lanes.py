"""Who runs what, in which order: a plan's lanes, which the simulator and the executor both follow.

A lane does one thing at a time, in rounds: in each it runs its operators once, in their order. Those that are
`behind` run for an earlier input than the round's own, so that a device need not wait for another one;
without such, a lane runs its operators of one input, and then those of the next. A device has one lane; or,
where it runs stages, as many as the largest of these has groups. A stage waits for the one before as an
operator waits for those that it reads, without taking their results. In a plan with several inputs under way,
inputs and results have lanes of their own: a device does not wait for a result that others compute before it
begins with the next input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sparsegen.hetero.plans.plan import PASSED_ON, Plan, PlannedOperator, PlannedTransfer


@dataclass(frozen=True)
class Need:
    """An operator that has to have run: for the same input (`back` 0), or for the one before it (1).

    `passed`: its result is an argument.
    """

    operator: str
    back: int
    passed: bool = True


@dataclass(frozen=True)
class Work:
    """An operator, and what it needs: first its reads, then what it carries, then the stage before.

    behind: in round n of its lane it runs for the input that is so many behind, in its replica.
    """

    operator: PlannedOperator
    needs: tuple[Need, ...]
    behind: int = 0


@dataclass(frozen=True)
class Lane:
    """Works in a round's order, on a device as the plan's operators name it; `number` is the lane's there."""

    device: str
    number: int
    works: tuple[Work, ...]


@dataclass(frozen=True)
class Edge:
    """A result's way from its lane to another one; of lanes of one device there is no transfer.

    readers: works there that need it, `back` inputs later each, in the order in which they run. depth:
    results on it at most, under way or waiting, and one more where a state is carried, which is held; None
    where stages bound them.
    """

    operator: str
    source: int
    target: int
    transfer: PlannedTransfer | None
    readers: tuple[tuple[str, int], ...]
    depth: int | None

    @property
    def last(self) -> tuple[str, int]:
        """The reader that takes a result off the edge: the last one."""
        return self.readers[-1]


def lanes_of(plan: Plan) -> tuple[Lane, ...]:
    """The lanes of a sound plan, in the order of their first operators; those of stages come last."""
    operators = {each.name: each for each in plan.operators}
    staged = plan.staged
    works: dict[tuple[str, int], list[Work]] = {}
    passing: Counter[str] = Counter()
    behind = {turn.operator: turn.behind for turn in plan.turns}
    place = {turn.operator: number for number, turn in enumerate(plan.turns)}
    for each in sorted(plan.operators, key=lambda each: place.get(each.name, -1)):
        if each.name in staged:
            continue
        number = 0
        if each.implementation == PASSED_ON and plan.depth > 1:
            passing[each.device] += 1
            number = passing[each.device]
        works.setdefault((each.device, number), []).append(_work(each, behind.get(each.name, 0)))
    alone = (Lane(*key, tuple(found)) for key, found in works.items())
    return (*alone, *(_staged(plan, operators) if plan.stages else ()))


def in_order(lane: Lane, inputs: Iterable[int], replicas: int) -> list[tuple[int, int, Work]]:
    """A lane's works for the inputs of one replica, in their order: round, place in it, and work."""
    found = (
        (input + replicas * work.behind, place, work)
        for input in inputs
        for place, work in enumerate(lane.works)
    )
    return sorted(found, key=lambda each: each[:2])


def edges_of(plan: Plan, lanes: tuple[Lane, ...]) -> tuple[Edge, ...]:
    """The ways of results between lanes, in the order of the operators, and of lanes for each."""
    lane_of = {work.operator.name: number for number, lane in enumerate(lanes) for work in lane.works}
    transfers = {(each.operator, each.target): each for each in plan.transfers}
    readers: dict[tuple[str, int], list[tuple[int, int, str, int]]] = {}
    for number, lane in enumerate(lanes):
        for at, work in enumerate(lane.works):
            for need in work.needs:
                if lane_of[need.operator] != number:
                    reader = (need.back + work.behind, at, work.operator.name, need.back)
                    readers.setdefault((need.operator, number), []).append(reader)
    place = {each.name: number for number, each in enumerate(plan.operators)}
    edges = []
    for (operator, target), found in sorted(
        readers.items(), key=lambda item: (place[item[0][0]], item[0][1])
    ):
        transfer = transfers.get((operator, lanes[target].device))
        carried = any(back for *_, back in found)
        told = tuple((name, back) for *_, name, back in sorted(found))
        depth = None if transfer is None else plan.queue + carried
        edges.append(Edge(operator, lane_of[operator], target, transfer, told, depth))
    return tuple(edges)


Taken = tuple[str, ...]
"""What a transfer has for itself: a link, by its two ends, or a device's bus."""


def taken_by(plan: Plan, transfer: PlannedTransfer, input: int) -> tuple[Taken, ...]:
    """The link, if exclusive, and the buses that a transfer takes alone, of devices that serve an input."""
    ends = tuple(stand_in(plan, device, input) for device in (transfer.source, transfer.target))
    own = [ends] if transfer.exclusive else []
    return (*own, *((stand_in(plan, device, input),) for device in transfer.buses))


def unread(plan: Plan) -> tuple[str, ...]:
    """The operators that no other reads, in the plan's order: an input is done when they are."""
    read = {name for each in plan.operators for name in each.reads}
    return tuple(each.name for each in plan.operators if each.name not in read)


def stand_in(plan: Plan, device: str, input: int) -> str:
    """The device that serves an input in the place of one that operators name."""
    return plan.replicas[input % len(plan.replicas)].get(device, device)


def _work(operator: PlannedOperator, behind: int = 0, stage: tuple[Need, ...] = ()) -> Work:
    reads = tuple(Need(name, 0) for name in operator.reads)
    return Work(operator, (*reads, *(Need(name, 1) for name in operator.carries), *stage), behind)


def _staged(plan: Plan, operators: dict[str, PlannedOperator]) -> Iterator[Lane]:
    """Lane g runs group g of every stage that has so many."""
    device = operators[plan.stages[0].groups[0].operators[0]].device
    for number in range(max(len(stage.groups) for stage in plan.stages)):
        works: list[Work] = []
        for place, stage in enumerate(plan.stages):
            if number >= len(stage.groups):
                continue
            before = [group.operators[-1] for group in plan.stages[place - 1].groups]
            own = {work.operator.name for work in works}
            waits = tuple(Need(name, 0 if place else 1, False) for name in before if name not in own)
            first, *others = stage.groups[number].operators
            works += [_work(operators[first], stage=waits), *(_work(operators[name]) for name in others)]
        yield Lane(device, number, tuple(works))
