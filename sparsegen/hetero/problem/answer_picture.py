"""A problem's solution as a plan and its timeline, so that pictures and traces can be made of it."""

from __future__ import annotations

import math

from sparsegen.hetero.plans.events import Event, Timeline
from sparsegen.hetero.plans.plan import PASSED_ON, Plan, PlanDevice, PlannedOperator
from sparsegen.hetero.problem.problem import Pipelining, Problem, Schedule
from sparsegen.hetero.solver.instance import Instance

_GIVEN = "given"
"""The kind of a problem's devices, and what computes its operators: a time that somebody gave."""
_MOST = 20
"""Inputs of a stream that are shown at most; else twice those that are under way at once, and some more."""


def plan_of_answer(problem: Problem, answer: Schedule | Pipelining, name: str) -> Plan:
    """What pictures and traces need of a plan: it is no model's, and nothing runs it."""
    instance = Instance(problem)
    passing = {task for task, passes in zip(instance.names, instance.passing, strict=True) if passes}
    tasks = {task.name: task for task in problem.tasks}
    operators = tuple(
        PlannedOperator(
            name=run.task,
            reads=tasks[run.task].reads,
            carries=tasks[run.task].carries,
            layers=(),
            bytes=tasks[run.task].bytes,
            device=run.device,
            implementation=PASSED_ON if run.task in passing else _GIVEN,
            threads=1,
            seconds=run.end - run.start,
            origin="table",
            start=run.start,
            end=run.end,
        )
        for run in answer.runs
    )
    stream = isinstance(answer, Pipelining)
    return Plan(
        goal="throughput" if stream else "latency",
        form="pipelined" if stream else "placed",
        model=name,
        fingerprint="",
        machine="",
        devices=tuple(PlanDevice(device, device, {}) for device in problem.devices),
        operators=operators,
        transfers=(),
        makespan=max(run.end for run in answer.runs),
        period=answer.period if isinstance(answer, Pipelining) else answer.makespan,
        bound=answer.bound,
        optimal=False,
        method=answer.method,
        depth=_inputs(answer),
    )


def timeline_of_answer(answer: Schedule | Pipelining) -> Timeline:
    """When all happens: of one input, or of a stream's first ones, each a period after the one before."""
    period = answer.period if isinstance(answer, Pipelining) else 0.0
    replicas = answer.replicas if isinstance(answer, Pipelining) else ({},)
    last = max(run.end for run in answer.runs)
    events = []
    inputs = range(_inputs(answer))
    for number in inputs:
        later, on = number * period, replicas[number % len(replicas)]
        for run in answer.runs:
            device = on.get(run.device, run.device)
            times = run.start + later, run.end + later
            events.append(Event("operator", run.task, device, "", 0, number, *times))
        for sent in answer.transfers:
            source, target = (on.get(name, name) for name in (sent.source, sent.target))
            times = sent.start + later, sent.end + later
            events.append(Event("transfer", sent.task, source, target, 0, number, *times))
    events.sort(key=lambda each: (each.start, each.end))
    admitted = tuple(number * period for number in inputs)
    return Timeline(tuple(events), admitted, tuple(last + each for each in admitted))


def _inputs(answer: Schedule | Pipelining) -> int:
    if isinstance(answer, Schedule) or not answer.period:
        return 1
    return min(_MOST, 4 + 2 * math.ceil(answer.latency / answer.period))
