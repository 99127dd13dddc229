"""A model's plan on one CPU alone, by what whole calls took in the rounds in which stages were timed.

What operators cost was measured at other times than whole calls of the program on all threads, on one, and in
stages. Only what was timed in turn can be compared: so the plan's seconds are those of these rounds, and what
was measured beside our program before keeps its ratio to that. Where one thread was faster than all, the plan
is that program on one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sparsegen.compiler import compile_graph
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.measure import on_cores, rounds_in_turn
from sparsegen.hetero.costs.mixing import program
from sparsegen.hetero.plans.plan import OURS, Plan
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.stages.kept import InStages
from sparsegen.hetero.stages.rounds import Rounds
from sparsegen.hetero.stages.staging import ONE_THREAD, SEQUENTIAL, STAGES

IN_STAGES, ALL_THREADS = "stages of operators at once", "all threads"
"""Names of plans that are not taken; that on one thread has its name in rounds."""


def by_whole_calls(
    found: Planned, tried: InStages, graph: LayerGraph, inputs: Sequence[Any], *, measure: bool = True
) -> Planned:
    """The plan of a model on a CPU alone, beside its program on one thread and its stages, or on one thread.

    found: the plan on all threads; tried: what came of looking for stages, which are not taken. Unless
    `measure`, only our own program on all threads gives way to that on one.
    """
    reasons = {IN_STAGES: tried.why} if tried.why else {}
    if not tried.seconds:
        return found.beside({}, reasons)
    plan, one = _in_these_rounds(found.plan, tried.seconds[SEQUENTIAL]), tried.seconds[ONE_THREAD]
    others = {IN_STAGES: tried.seconds[STAGES]} if STAGES in tried.seconds else {}
    ours = _implementations(plan) == {OURS}
    if tried.one_thread and (ours or (measure and one < plan.makespan and _is_beaten(found, graph, inputs))):
        (implementation,) = _implementations(plan)
        others[ALL_THREADS if ours else f"by {implementation}"] = plan.makespan
        plan = _on_one_thread(plan, one)
    else:
        others[ONE_THREAD] = one
    return replace(found, plan=plan).beside(others, reasons)


def _implementations(plan: Plan) -> set[str]:
    """Those of what computes anything."""
    return {each.implementation for each in plan.operators if each.layers}


def _in_these_rounds(plan: Plan, sequential: float) -> Plan:
    """The plan with seconds by which our program on all threads takes what it took in these rounds."""
    others = dict(plan.alternatives or {})
    ours = plan.makespan if _implementations(plan) == {OURS} else others.get(f"by {OURS}", 0.0)
    if not ours:
        return plan
    scale = sequential / ours
    scaled = {name: seconds * scale for name, seconds in others.items()}
    return replace(_scaled(plan, scale), bound=plan.bound * scale, alternatives=scaled)


def _on_one_thread(plan: Plan, seconds: float) -> Plan:
    """Our program on one thread in the place of what a plan has; nothing was proved of it."""
    made = _scaled(plan, seconds / plan.makespan)
    operators = (
        replace(each, implementation=OURS, threads=1, by_torch=()) if each.layers else each
        for each in made.operators
    )
    return replace(made, operators=tuple(operators), bound=0.0, optimal=False, method=ONE_THREAD)


def _scaled(plan: Plan, factor: float) -> Plan:
    """The plan, whose operators are all on one device, with seconds that are so many times as long."""
    operators = (
        replace(each, seconds=each.seconds * factor, start=each.start * factor, end=each.end * factor)
        for each in plan.operators
    )
    return replace(
        plan,
        operators=tuple(operators),
        makespan=plan.makespan * factor,
        period=plan.period * factor,
    )


def _is_beaten(found: Planned, graph: LayerGraph, inputs: Sequence[Any]) -> bool:
    """Whether our program on one thread gains over what a plan has on all, both called in turn."""
    (device,) = found.machine.devices
    by_torch = frozenset(name for each in found.plan.operators for name in each.by_torch)
    (implementation,) = _implementations(found.plan)

    def work() -> Rounds:
        calls: dict[str, Callable[..., Any]] = {
            SEQUENTIAL: program(implementation, graph, by_torch, len(device.cores)),
            ONE_THREAD: compile_graph(graph, threads=1),
        }
        return Rounds(rounds_in_turn({name: functools.partial(c, *inputs) for name, c in calls.items()}))

    return on_cores(device.cores, work).gains(ONE_THREAD, [SEQUENTIAL])
