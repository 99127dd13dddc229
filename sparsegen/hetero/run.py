"""`sparsegen place MODEL` from end to end: loaded, pruned, planned, run, simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sparsegen.frontend import from_torch, resolve_model
from sparsegen.graph import LayerGraph
from sparsegen.hetero.api import find_plan, machine_of
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.export import ExportedModel, export_operators
from sparsegen.hetero.options import PlaceOptions
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import Plan
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.rewriting.gain import Gain, best_rewritten
from sparsegen.hetero.rewriting.options import RewriteOptions
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.stages.timed import timed_stream
from sparsegen.preparation import PREPARING_STEPS, prepare
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.structures import parse_structure
from sparsegen.rewriting.approximate_steps import approximate_steps

SIMULATED = 20
"""Inputs of a simulated stream, where nobody says."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A model's plan, its graph, what ran (None: nothing did), what was simulated, what rewriting gained."""

    planned: Planned
    graph: LayerGraph
    name: str
    measured: Timeline | None
    simulated: Timeline | None
    gain: Gain | None = None

    @property
    def plan(self) -> Plan:
        """The plan alone."""
        return self.planned.plan

    def export(self, options: PlaceOptions) -> ExportedModel:
        """The operators with their costs, for other schedulers."""
        costs: Costs | None = self.planned.costs
        known = None if costs is None else costs.costs
        return export_operators(self.graph, self.name, options.granularity, costs=known)


def place(model: str, options: PlaceOptions, listen: Listener | None = None) -> Placed:
    """A named model, planned by the options, and run where they ask for that.

    Raises SparsegenError for a model, options or devices that cannot be, and where running fails.
    """
    options.check()
    machine = machine_of(options.devices)
    graph, inputs = _prepared(model, options, Steps(listen, total=PREPARING_STEPS))

    def plan(graph: LayerGraph) -> Planned:
        return find_plan(
            graph,
            machine,
            inputs,
            goal=options.goal,
            granularity=options.granularity,
            name=model,
            measure=options.measure,
            listen=listen,
        )

    gain = None
    if options.rewrite:
        asked = RewriteOptions(max_error=options.max_error, calibration=options.calibration)
        graph, planned, gain = best_rewritten(graph, machine, inputs, asked, plan, listen)
    else:
        planned = plan(graph)
    measured = _run(PlannedModel.of(planned, graph), inputs, options.run) if options.run else None
    simulated = simulate(planned.plan, options.run or SIMULATED) if options.simulate else None
    return Placed(planned, graph, model, measured, simulated, gain)


def _run(model: PlannedModel, inputs: tuple[Any, ...], count: int) -> Timeline | None:
    """What ran when, of so many inputs by the plan."""
    with model:
        if model.compiled is not None:
            return timed_stream(model.plan, model.compiled, [inputs] * count)
        for _ in model.map([inputs] * count):
            pass
        return model.timeline()


def _prepared(model: str, options: PlaceOptions, steps: Steps) -> tuple[LayerGraph, tuple[Any, ...]]:
    """The graph of a model that is pruned, if asked for, and its inputs."""
    if options.sparsity:
        structure = parse_structure(options.structure, sparsity=options.sparsity)
        prepared = prepare(model, None, options, structure=structure, steps=steps)
        return approximate_steps(prepared.graph, options.approximate), prepared.inputs
    steps.begin("loading and exporting the model")
    with torch.no_grad():
        network, inputs = resolve_model(model, None, options)
        return approximate_steps(from_torch(network, inputs), options.approximate), inputs
