"""An oracle of the simulator: a stream, tick by tick, where all times are whole numbers of seconds.

Each tick ends what is over, and then looks again and again at every operator of every input whether it can
begin: there are no lanes, edges or events, and devices are told apart by name alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsegen.hetero.plans.plan import Plan, PlannedOperator

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


def ticks(plan: Plan, inputs: int) -> Ticks:
    """Run a plan without contention, as the plan has its links and queues."""
    state, sinks = Ticks(), _sinks(plan)
    work = [(each, input) for input in range(inputs) for each in plan.operators]
    for now in range(_TOO_LONG):
        for each, input in work:
            key = each.name, input
            if key in state.started and key not in state.ended and now == state.started[key] + each.seconds:
                state.ended[key] = now
        while sum(_act(plan, state, each, input, now, sinks) for each, input in work):
            pass
        if len(state.put) == len(work):
            state.finished = [max(state.ended[name, i] for name in sinks) for i in range(inputs)]
            return state
    raise AssertionError("a deadlock")


def _act(plan: Plan, state: Ticks, each: PlannedOperator, input: int, now: int, sinks: list[str]) -> bool:
    """Begin an operator, give its result away, or send it: whether anything was done."""
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
    done = False
    for transfer in plan.transfers:
        way = (each.name, transfer.target, input)
        if key in state.put and transfer.operator == each.name and way not in state.sent:
            if transfer.exclusive and _link_busy(plan, state, transfer.source, transfer.target, way, now):
                continue
            state.sent[way] = now
            done = True
    return done


def _may_begin(
    plan: Plan, state: Ticks, each: PlannedOperator, input: int, now: int, sinks: list[str]
) -> bool:
    if any((name, j) not in state.ended for name in sinks for j in range(input - plan.depth + 1)):
        return False
    if plan.stages:
        return _stage_may_begin(plan, state, each, input)
    operators = list(plan.operators)
    here = _device(plan, each, input)
    for j in range(input + 1):  # all that comes before on this device
        for other in operators if j < input else operators[: operators.index(each)]:
            if _device(plan, other, j) == here and (other.name, j) not in state.put:
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


def _link_busy(
    plan: Plan, state: Ticks, source: str, target: str, way: tuple[str, str, int], now: int
) -> bool:
    """Whether a transfer is under way, or another's turn is before, on the link that an input takes."""

    def link(device: str, input: int) -> str:
        return plan.replicas[input % len(plan.replicas)].get(device, device)

    for other in plan.transfers:
        for (name, j), put in state.put.items():
            if name != other.operator or (name, other.target, j) == way:
                continue
            if (link(other.source, j), link(other.target, j)) != (link(source, way[2]), link(target, way[2])):
                continue
            sent = state.sent.get((name, other.target, j))
            if sent is None and (put, j, _place(plan, name)) < (
                state.put[way[0], way[2]],
                way[2],
                _place(plan, way[0]),
            ):
                return True
            if sent is not None and sent <= now < sent + other.seconds:
                return True
    return False


def _place(plan: Plan, name: str) -> int:
    return [each.name for each in plan.operators].index(name)


def _device(plan: Plan, each: PlannedOperator, input: int) -> str:
    return plan.replicas[input % len(plan.replicas)].get(each.device, each.device)


def _sinks(plan: Plan) -> list[str]:
    read = {name for each in plan.operators for name in each.reads}
    return [each.name for each in plan.operators if each.name not in read]
