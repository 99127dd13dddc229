"""An oracle of the check of plans: the first input, replayed by the clock, result by result."""

from __future__ import annotations

from sparsegen.hetero.plans.plan import Plan


def goes_wrong(plan: Plan) -> bool:
    """Whether something cannot be as the plan says: the times are followed, and the order is not looked at.

    What is not of the first input alone (period, copies, carried results' use) is not looked at either.
    """
    try:
        return _replay(plan)
    except KeyError:  # a name that is nothing's
        return True


def _replay(plan: Plan) -> bool:
    names = [each.name for each in plan.operators]
    if len(set(names)) < len(names) or plan.makespan != max(each.end for each in plan.operators):
        return True
    device_of = {each.name: each.device for each in plan.operators}
    free = dict.fromkeys([each.name for each in plan.devices], 0.0)
    taken: dict[tuple[str, ...], float] = {}  # links and buses, until when
    held: dict[tuple[str, str], float] = {}  # results on devices, and since when
    used: set[tuple[str, str]] = set()
    actions = [(each.start, 1, each) for each in plan.operators]
    actions += [(each.start, 0, each) for each in plan.transfers]  # type: ignore[misc]
    for start, is_operator, each in sorted(actions, key=lambda action: (action[0], action[1], action[2].end)):
        if each.end - start != each.seconds:
            return True
        if is_operator:
            if start < free[each.device]:
                return True
            for name in each.reads:
                if held.get((name, each.device), start + 1) > start:
                    return True
            used |= {(name, each.device) for name in (*each.reads, *each.carries)}
            free[each.device] = each.end
            held[each.name, each.device] = each.end
        else:
            way = each.source, each.target
            ended = {other.name: other.end for other in plan.operators}[each.operator]
            if (
                device_of[each.operator] != each.source
                or start < ended
                or (each.operator, each.target) in held
            ):
                return True
            takes = [*([way] if each.exclusive else []), *((bus,) for bus in each.buses)]
            if any(start < taken.get(bus, 0.0) for bus in takes):
                return True
            taken.update(dict.fromkeys(takes, each.end))
            held[each.operator, each.target] = each.end
    arrived = {key for key in held if device_of[key[0]] != key[1]}
    return arrived != {key for key in used if device_of[key[0]] != key[1]}
