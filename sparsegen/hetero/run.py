"""`sparsegen place MODEL` from end to end: loaded, pruned, planned, run, simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.table import Table

from sparsegen.frontend import from_torch, resolve_model
from sparsegen.graph import LayerGraph
from sparsegen.hetero.api import find_plan, machine_of
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.explanation import check_operator, explain
from sparsegen.hetero.operators.export import ExportedModel, export_operators
from sparsegen.hetero.options import PlaceOptions
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import Measured, Plan
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
class Ran:
    """A plan, what ran by it (None: nothing did), and what was simulated."""

    plan: Plan
    measured: Timeline | None
    simulated: Timeline | None

    @property
    def written(self) -> Plan:
        """The plan with what was measured, as it is written down."""
        if self.measured is None:
            return self.plan
        took = self.measured
        figures = Measured(len(took.finished), took.makespan, took.period, took.operator_seconds())
        return replace(self.plan, measured=figures)


@dataclass(frozen=True, eq=False)
class Placed(Ran):
    """A model's plan that was found, what it was made with, the model's graph, what rewriting gained."""

    planned: Planned
    graph: LayerGraph
    name: str
    gain: Gain | None = None

    def export(self, options: PlaceOptions) -> ExportedModel:
        """The operators with their costs, for other schedulers, of options that ask for the export."""
        return export_operators(self.graph, self.name, options.granularity, costs=self._costs().costs)

    def explain(self, options: PlaceOptions) -> tuple[str, Table]:
        """A line, and the costs of the operator that the options name; OptionError where it is none."""
        assert options.explain is not None
        return explain(
            self.plan, self._costs(), self.graph, options.granularity, self.planned.machine, options.explain
        )

    def _costs(self) -> Costs:
        assert self.planned.costs is not None, "options that ask for costs have them found"
        return self.planned.costs


def place(model: str, options: PlaceOptions, listen: Listener | None = None) -> Placed:
    """A named model, planned by the options, and run where they ask for that.

    Raises SparsegenError for a model, options or devices that cannot be, for an operator to explain that is
    not there, and where running fails.
    """
    options.check()
    machine = machine_of(options.devices)
    graph, inputs = prepared(model, options, listen)

    def check(graphs: Sequence[LayerGraph]) -> None:
        if options.explain is not None:
            check_operator(graphs, options.granularity, options.explain)

    def plan(graph: LayerGraph) -> Planned:
        return find_plan(
            graph,
            machine,
            inputs,
            goal=options.goal,
            granularity=options.granularity,
            name=model,
            measure=options.measure,
            costs=options.export or options.explain is not None,
            listen=listen,
        )

    gain = None
    if options.rewrite:
        asked = RewriteOptions(max_error=options.max_error, calibration=options.calibration)
        graph, planned, gain = best_rewritten(graph, machine, inputs, asked, plan, listen, check=check)
    else:
        check([graph])
        planned = plan(graph)
    measured = run(PlannedModel.of(planned, graph), inputs, options.run) if options.run else None
    simulated = simulate(planned.plan, options.run or SIMULATED) if options.simulate else None
    return Placed(planned.plan, measured, simulated, planned, graph, model, gain)


def run(model: PlannedModel, inputs: tuple[Any, ...], count: int) -> Timeline | None:
    """What ran when, of so many inputs by the plan; the model is closed then."""
    with model:
        if model.compiled is not None:
            return timed_stream(model.plan, model.compiled, [inputs] * count)
        for _ in model.map([inputs] * count):
            pass
        return model.timeline()


def prepared(
    model: str, options: PlaceOptions, listen: Listener | None = None
) -> tuple[LayerGraph, tuple[Any, ...]]:
    """The graph of a named model, pruned and approximated where that is asked for, and its inputs."""
    graph, inputs = _loaded(model, options, Steps(listen, total=PREPARING_STEPS))
    return approximate_steps(graph, options.approximate), inputs


def _loaded(model: str, options: PlaceOptions, steps: Steps) -> tuple[LayerGraph, tuple[Any, ...]]:
    if options.sparsity:
        structure = parse_structure(options.structure, sparsity=options.sparsity)
        pruned = prepare(model, None, options, structure=structure, steps=steps)
        return pruned.graph, pruned.inputs
    steps.begin("loading and exporting the model")
    with torch.no_grad():
        network, inputs = resolve_model(model, None, options)
        return from_torch(network, inputs), inputs
