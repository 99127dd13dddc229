"""An oracle of the simulator: a stream, tick by tick, where all times are whole numbers of seconds.

Each tick ends what is over, and then looks again and again at every operator of every input whether it can
begin: there are no lanes, edges or events, and devices are told apart by name alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsegen.hetero.plans.plan import Plan, PlannedOperator, PlannedTransfer

_TOO_LONG = 10_000

Key = tuple[str, int]


@dataclass
class Ticks:
    """When operators started, ended and gave their results away; when transfers began; by name and input."""

    started: dict[Key, int] = field(default_factory=dict)
    ended: dict[Key, int] = field(default_factory=dict)
    put: dict[Key, int] = field(default_factory=dict)
    sent: dict[tuple[str, str, int], int] = field(default_factory=dict)
    finished: list[int] = field(default_factory=list)
    inputs: int = 0


def ticks(plan: Plan, inputs: int) -> Ticks:
    """Run a plan without contention, as the plan has its links and queues."""
    state, sinks = Ticks(inputs=inputs), _sinks(plan)
    work = [(each, input) for input in range(inputs) for each in plan.operators]
    for now in range(_TOO_LONG):
        for each, input in work:
            key = each.name, input
            if key in state.started and key not in state.ended and now == state.started[key] + each.seconds:
                state.ended[key] = now
        moved = True
        while moved:
            while sum(_act(plan, state, each, input, now, sinks) for each, input in work):
                pass
            moved = _send(plan, state, now)
        if len(state.put) == len(work) and len(state.sent) == inputs * len(plan.transfers):
            state.finished = [max(state.ended[name, i] for name in sinks) for i in range(inputs)]
            return state
    raise AssertionError("a deadlock")


def _act(plan: Plan, state: Ticks, each: PlannedOperator, input: int, now: int, sinks: list[str]) -> bool:
    """Begin an operator, or give its result away: whether anything was done."""
    key = each.name, input
    if key not in state.started:
        if not _may_begin(plan, state, each, input, now, sinks):
            return False
        state.started[key] = now
        return True
    if key in state.ended and key not in state.put:
        if not _may_put(plan, state, each, input):
            return False
        state.put[key] = now
        return True
    return False


def _send(plan: Plan, state: Ticks, now: int) -> bool:
    """Begin transfers whose turn it is on all that they take: whether there was one."""
    for transfer in plan.transfers:
        for (name, input), put in state.put.items():
            key = name, transfer.target, input
            if name != transfer.operator or key in state.sent or put > now:
                continue
            if _is_next(plan, state, transfer, input, now):
                state.sent[key] = now
                return True
    return False


def _is_next(plan: Plan, state: Ticks, transfer: PlannedTransfer, input: int, now: int) -> bool:
    takes, replicas = _takes(plan, transfer, input), len(plan.replicas)
    turn = input + transfer.behind * replicas, plan.transfers.index(transfer)
    for place, other in enumerate(plan.transfers):
        for j in range(state.inputs):
            sent = state.sent.get((other.operator, other.target, j))
            before = sent is None and (j + other.behind * replicas, place) < turn
            under_way = sent is not None and now < sent + other.seconds
            if (before or under_way) and takes & _takes(plan, other, j):
                return False
    return True


def _takes(plan: Plan, transfer: PlannedTransfer, input: int) -> set[tuple[str, ...]]:
    """What a transfer has for itself: the way of an exclusive link, and buses, for this input."""
    replica = plan.replicas[input % len(plan.replicas)]

    def there(device: str) -> str:
        return replica.get(device, device)

    own = {(there(transfer.source), there(transfer.target))} if transfer.exclusive else set()
    return {*own, *((there(device),) for device in transfer.buses)}


def _may_begin(
    plan: Plan, state: Ticks, each: PlannedOperator, input: int, now: int, sinks: list[str]
) -> bool:
    if any((name, j) not in state.ended for name in sinks for j in range(input - plan.depth + 1)):
        return False
    if plan.stages:
        return _stage_may_begin(plan, state, each, input)
    here, turn = _device(plan, each, input), _turn(plan, each, input)
    last = max((each.behind for each in plan.turns), default=0) * len(plan.replicas)
    for j in range(min(input + last + 1, state.inputs)):  # all that comes before on this device
        for other in plan.operators:
            if (
                _device(plan, other, j) == here
                and _turn(plan, other, j) < turn
                and (other.name, j) not in state.put
            ):
                return False
    needs = [(name, input) for name in each.reads] + [(name, input - 1) for name in each.carries if input]
    return all(_is_there(plan, state, name, j, each.device, now) for name, j in needs)


def _stage_may_begin(plan: Plan, state: Ticks, each: PlannedOperator, input: int) -> bool:
    (number,) = (n for n, s in enumerate(plan.stages) for g in s.groups if each.name in g.operators)
    (group,) = (g for g in plan.stages[number].groups if each.name in g.operators)
    before = [n for s in plan.stages[:number] for g in s.groups for n in g.operators]
    before += group.operators[: group.operators.index(each.name)]
    earlier = [(other.name, input - 1) for other in plan.operators if input]
    return all(key in state.put for key in [*((name, input) for name in before), *earlier])


def _is_there(plan: Plan, state: Ticks, name: str, input: int, device: str, now: int) -> bool:
    for transfer in plan.transfers:
        if transfer.operator == name and transfer.target == device:
            sent = state.sent.get((name, device, input))
            return sent is not None and sent + transfer.seconds <= now
    return (name, input) in state.put


def _may_put(plan: Plan, state: Ticks, each: PlannedOperator, input: int) -> bool:
    """Whether the queue to each other device has room: the readers there have begun with what was before."""
    for transfer in plan.transfers:
        if transfer.operator != each.name:
            continue
        readers = [r for r in plan.operators if r.device == transfer.target and each.name in r.reads]
        carriers = [r for r in plan.operators if r.device == transfer.target and each.name in r.carries]
        before = input - (plan.queue + bool(carriers)) * len(plan.replicas)
        wanted = [(r.name, before) for r in readers] + [(r.name, before + 1) for r in carriers]
        if before >= 0 and any(key not in state.started for key in wanted):
            return False
    return True


def _turn(plan: Plan, each: PlannedOperator, input: int) -> tuple[int, int, int]:
    """The round of an operator for an input, and its place in that."""
    turns = {turn.operator: (turn.behind, place) for place, turn in enumerate(plan.turns)}
    place = [other.name for other in plan.operators].index(each.name)
    behind, place = turns.get(each.name, (0, place))
    return input + behind * len(plan.replicas), place, input


def _device(plan: Plan, each: PlannedOperator, input: int) -> str:
    return plan.replicas[input % len(plan.replicas)].get(each.device, each.device)


def _sinks(plan: Plan) -> list[str]:
    read = {name for each in plan.operators for name in each.reads}
    return [each.name for each in plan.operators if each.name not in read]
