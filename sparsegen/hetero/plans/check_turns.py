"""Whether a plan's turns are sound: every operator once in the rounds, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sparsegen.hetero.plans.lanes import Lane, Taken, edges_of, lanes_of, taken_by, unread
from sparsegen.hetero.plans.plan import PASSED_ON, Plan, PlannedTransfer

_STOPS = "operators and transfers wait for each other in a circle, in their turns: no result would ever come"

Wait = tuple[str, str, int]
"""What is waited for, by whom, and how many inputs back."""


def turn_faults(plan: Plan) -> Iterator[str]:
    """What is wrong with the turns of a plan whose names are right, a sentence each."""
    if not plan.turns:
        if any(each.exclusive or each.buses for each in plan.transfers) and _stops(plan, lanes_of(plan)):
            yield _STOPS
        return
    if plan.stages:
        yield "it has stages, and turns: the groups of a stage take none"
        return
    if plan.depth < 2:
        yield "its devices take turns, and one input is under way at a time"
        return
    wanted = {each.name for each in plan.operators if each.implementation != PASSED_ON}
    taken = [turn.operator for turn in plan.turns]
    yield from (f"operator {name} has {taken.count(name)} turns" for name in sorted(set(taken) - wanted))
    yield from (
        f"operator {name} has {taken.count(name)} turns: it needs one"
        for name in sorted(wanted)
        if taken.count(name) != 1
    )
    if sorted(taken) == sorted(wanted):
        yield from _disorder(plan)
        if _stops(plan, lanes_of(plan)):
            yield _STOPS


def _disorder(plan: Plan) -> Iterator[str]:
    """Devices whose turns of one input are in another order than the operators."""
    turn_of = {turn.operator: (turn.behind, place) for place, turn in enumerate(plan.turns)}
    last: dict[str, str] = {}
    for each in plan.operators:
        if each.name not in turn_of:
            continue
        before = last.get(each.device)
        if before is not None and turn_of[each.name] < turn_of[before]:
            yield f"operator {each.name} comes after {before}, and its turn before that on {each.device}"
        last[each.device] = each.name


def _stops(plan: Plan, lanes: tuple[Lane, ...]) -> bool:
    """Whether operators, of whatever inputs, wait for each other in a circle: one that goes back no input."""
    waits = list(_waits(plan, lanes))
    back = dict.fromkeys([name for before, after, _ in waits for name in (before, after)], 0)
    scale = len(back) + 1  # a wait of no input counts as 1 of these, so that circles of such never end
    for _ in range(scale):
        changed = False
        for before, after, inputs in waits:
            reached = back[before] + 1 - inputs * scale
            if reached > back[after]:
                back[after], changed = reached, True
        if not changed:
            return False
    return True


def _waits(plan: Plan, lanes: tuple[Lane, ...]) -> Iterator[Wait]:
    """Between starts, by names; ">" before a name: its result is given away; "d>": sent to device d."""
    replicas = len(plan.replicas)
    for each in plan.operators:
        yield each.name, f">{each.name}", 0
        yield from ((f">{name}", each.name, 0) for name in each.reads)
        yield from ((f">{name}", each.name, replicas) for name in each.carries)
        yield from ((name, each.name, plan.depth) for name in unread(plan))
    for lane in lanes:
        for first, second in pairwise([*lane.works, lane.works[0]]):
            later = first.behind - second.behind + (second is lane.works[0])
            yield f">{first.operator.name}", second.operator.name, later * replicas
    yield from _transfer_waits(plan)
    for edge in edges_of(plan, lanes):
        if edge.depth is not None:
            reader, back = edge.last
            yield reader, f">{edge.operator}", (edge.depth - back) * replicas


def _transfer_waits(plan: Plan) -> Iterator[Wait]:
    """What transfers wait for, on links and buses too, and what waits for them."""
    replicas = len(plan.replicas)
    on_bus: dict[Taken, list[PlannedTransfer]] = {}
    for each in plan.transfers:
        yield f">{each.operator}", _sent(each), 0
        for bus in taken_by(plan, each, 0):
            on_bus.setdefault(bus, []).append(each)
        for reader in plan.operators:
            if reader.device == each.target:
                yield from ((_sent(each), reader.name, 0) for name in reader.reads if name == each.operator)
                yield from (
                    (_sent(each), reader.name, replicas) for name in reader.carries if name == each.operator
                )
    for transfers in on_bus.values():
        for first, second in pairwise([*transfers, transfers[0]]):
            later = first.behind - second.behind + (second is transfers[0])
            yield _sent(first), _sent(second), later * replicas


def _sent(transfer: PlannedTransfer) -> str:
    return f"{transfer.target}>{transfer.operator}"
