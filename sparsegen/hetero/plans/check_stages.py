"""Whether the stages of a plan are sound: all operators once, in an order that runs, their groups apart.

What runs at once, and asks for more than the device has, advances at 1 / (sum of utilisations) of its speed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import networkx

from sparsegen.hetero.plans.plan import PASSED_ON, Plan, PlannedOperator, Stage

_TOLERANCE = 1e-6  # of the makespan, as in `check`


def stage_faults(plan: Plan) -> list[str]:
    """What is wrong with the stages of a plan whose names and numbers are good."""
    if not plan.stages:
        return ["it is of stages, and has none"] if plan.form == "stages" else []
    if plan.form != "stages":
        return [f"it has stages, and its form is {plan.form}"]
    return [*_cover_faults(plan)] or [*_order_faults(plan), *_share_faults(plan), *_time_faults(plan)]


def _cover_faults(plan: Plan) -> Iterator[str]:
    named = Counter(n for stage in plan.stages for group in stage.groups for n in group.operators)
    known = {each.name: each for each in plan.operators}
    yield from (f"a stage names {name!r}, which is no operator" for name in named if name not in known)
    devices = {known[name].device for name in named if name in known}
    for each in plan.operators:
        on_host = each.implementation == PASSED_ON and each.device not in devices
        if each.name not in named and not on_host:
            yield f"operator {each.name} is in no stage"
    yield from (f"operator {name} is in {n} groups" for name, n in named.items() if n > 1)
    for number, stage in enumerate(plan.stages):
        if not stage.groups or not all(group.operators for group in stage.groups):
            yield f"stage {number} has nothing in it, or a group that has not"
    if len(devices) > 1:
        yield f"its stages are of one device's cores, and its operators run on {', '.join(sorted(devices))}"


def _order_faults(plan: Plan) -> Iterator[str]:
    """Operators that read what runs later, and groups that wait for each other in a circle."""
    reads = {each.name: each.reads for each in plan.operators}
    before = reads.keys() - plan.staged
    for number, stage in enumerate(plan.stages):
        here = {*_names(stage)}
        order: networkx.DiGraph[str] = networkx.DiGraph()
        for group in stage.groups:
            order.add_edges_from(pairwise(group.operators))
        for name in here:
            order.add_edges_from((read, name) for read in reads[name] if read in here)
            for read in reads[name]:
                if read not in before and read not in here:
                    yield f"operator {name} reads {read}, which no stage before has, nor its own"
        if not networkx.is_directed_acyclic_graph(order):
            (one, other), *_ = networkx.find_cycle(order)
            yield f"groups of stage {number} wait for each other in a circle, at {one} and {other}"
        before |= here


def _share_faults(plan: Plan) -> Iterator[str]:
    """Groups that have more cores together than there are."""
    names = plan.staged
    staged = [each for each in plan.operators if each.name in names]
    (device,) = (each for each in plan.devices if each.name == staged[0].device)
    cores = device.settings.get("cores")
    for number, stage in enumerate(plan.stages):
        threads = sum(group.threads for group in stage.groups)
        if min(group.threads for group in stage.groups) < 1:
            yield f"stage {number} has a group without a thread"
        if isinstance(cores, list | tuple) and threads > len(cores):
            yield f"stage {number} runs {threads} threads at once on the {len(cores)} cores of {device.name}"
    share = {n: g.threads for stage in plan.stages for g in stage.groups for n in g.operators}
    for each in staged:
        if each.threads != share[each.name]:
            yield f"operator {each.name} has {each.threads} threads, and its group {share[each.name]}"


def _time_faults(plan: Plan) -> Iterator[str]:
    slack = 1e-9 + _TOLERANCE * plan.makespan
    placed = {each.name: each for each in plan.operators}
    for number, stage in enumerate(plan.stages):
        yield from _speed_faults([placed[name] for name in _names(stage)], slack)
        for group in stage.groups:
            for before, after in pairwise(placed[name] for name in group.operators):
                if after.start < before.end - slack:
                    yield f"group of {before.name}: {after.name} begins before {before.name} has ended"
        ran = [placed[name] for name in _names(stage)]
        lasts = max(each.end for each in ran) - min(each.start for each in ran)
        if abs(stage.seconds - lasts) > slack:
            yield f"stage {number} takes {stage.seconds:g} s, and its operators run for {lasts:g} s"
    for before_stage, after_stage in pairwise(plan.stages):
        ended = max(placed[name].end for name in _names(before_stage))
        for name in _names(after_stage):
            if placed[name].start < ended - slack:
                yield f"operator {name} begins before the stage before it has ended"


def _speed_faults(operators: Sequence[PlannedOperator], slack: float) -> Iterator[str]:
    """Operators that run for longer or shorter than they take at the speed that others at once leave them."""
    marks = sorted({time for each in operators for time in (each.start, each.end)})
    done = dict.fromkeys((each.name for each in operators), 0.0)
    for begin, end in pairwise(marks):
        running = [each for each in operators if each.start <= begin and end <= each.end]
        speed = 1 / max(1.0, sum(each.utilisation for each in running))
        for each in running:
            done[each.name] += (end - begin) * speed
    for each in operators:
        if abs(done[each.name] - each.seconds) > slack:
            yield f"operator {each.name} takes {each.seconds:g} s, and runs for {done[each.name]:g} s"


def _names(stage: Stage) -> list[str]:
    return [name for group in stage.groups for name in group.operators]
