"""The captioner on tables of devices: one device alone, placed for latency, pipelined for throughput."""

from __future__ import annotations

import copy
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from sparsegen.devices import Machine, connect, describe_graph, make_device
from sparsegen.hetero.costs.cost_cache import CostCache, default_path
from sparsegen.hetero.costs.costs import cost_operators
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import Granularity, operators
from sparsegen.hetero.plans.check import check_plan
from sparsegen.hetero.plans.placing import Subject, plan_of
from sparsegen.hetero.plans.plan import Plan
from sparsegen.hetero.plans.posing import pose
from sparsegen.hetero.problem.problem import Problem
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.retime import retime
from sparsegen.hetero.solver.solve import solve

INPUTS = 60
"""Frames of a simulated stream, at least."""

Changes = Mapping[str, Any]
"""Values of a table's file that are others, by their keys: `{"weights.cache": "4 MiB"}`."""


@dataclass(frozen=True)
class Simulated:
    """One case, in milliseconds a frame; all of it simulated.

    alone: by the device that the paper compares with. placed: one frame. pipelined: between two frames.
    on: operators by device, of the placed plan. refused: the operators' names that an accelerator refuses,
    with how many. limit: what bounds the pipeline.
    """

    case: str
    alone_ms: float
    placed_ms: float
    pipelined_ms: float
    on: Mapping[str, int]
    refused: Mapping[str, int]
    limit: str


def device_table(name: str, changes: Changes | None = None) -> dict[str, Any]:
    """A shipped table's file, with some values changed."""
    path = resources.files("sparsegen.devices") / "shipped" / f"{name}.toml"
    content = copy.deepcopy(tomllib.loads(path.read_text()))
    for key, value in (changes or {}).items():
        *outer, last = key.split(".")
        inner = content
        for each in outer:
            inner = inner[each]
        inner[last] = value
    return content


def machine_of(host: tuple[str, Mapping[str, Any]], others: Mapping[str, Mapping[str, Any]]) -> Machine:
    """A host and what is connected to it, each a name and a table."""
    name, table = host
    found = [make_device(name, "profile", {"table": dict(table)})]
    found += [make_device(other, "profile", {"table": dict(each)}) for other, each in others.items()]
    return connect(found, [], name)


def simulated(
    case: str, model: CarriedGraph, machine: Machine, alone: str, granularity: Granularity = "layer"
) -> Simulated:
    """Plans for both goals, checked and simulated; `alone` is the device that is compared with."""
    pieces = operators(model.graph, granularity, carried=model.carried)
    costs = cost_operators(model.graph, pieces, machine, (), cache=CostCache(default_path()))
    posed = pose(model, pieces, costs, machine)
    plans: list[Plan] = []
    limit = ""
    for goal in ("latency", "throughput"):
        answer = solve(posed.problem, goal)
        plan = plan_of(posed, answer, pieces, costs, machine, Subject("captioner", "", ""))
        check_plan(plan, f"the plan of {case!r} for {goal}")
        plans.append(plan)
        limit = getattr(answer, "limit", limit)
    placed, pipelined = plans
    inputs = max(INPUTS, 4 * pipelined.depth)
    described = describe_graph(model.graph)
    refused: Counter[str] = Counter()
    for (name, device), reason in costs.reasons.items():
        if device == machine.devices[-1].name and reason and granularity == "layer":
            refused[described[name].name] += 1
    where: Counter[str] = Counter()
    for each in placed.operators:
        where[each.device] += len(each.layers)
    return Simulated(
        case=case,
        alone_ms=1e3 * _alone(posed.problem, alone),
        placed_ms=1e3 * simulate(placed).makespan,
        pipelined_ms=1e3 * min(simulate(pipelined, inputs).period, simulate(placed).makespan),
        on=dict(where),
        refused=dict(refused),
        limit=limit,
    )


def _alone(problem: Problem, device: str) -> float:
    """Seconds of a frame with every operator on one device; what goes in and out stays on the host."""
    instance, names = Instance(problem), list(problem.devices)
    places = [names.index(device if device in task.times else names[0]) for task in problem.tasks]
    return retime(instance, places, range(instance.count)).makespan()
