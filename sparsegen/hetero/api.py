"""Planning a model or an application: cut into operators, costed, placed or put in stages, ready to run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsegen.devices import Machine, load_devices, this_machine
from sparsegen.frontend import from_torch
from sparsegen.frontend.modules import Model
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.cost_cache import CostCache, default_path
from sparsegen.hetero.operators.application import Application
from sparsegen.hetero.operators.application_graph import CarriedGraph, joined
from sparsegen.hetero.operators.cut import Granularity
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.placing import Subject, by_core, machine_name
from sparsegen.hetero.plans.plan import Goal
from sparsegen.hetero.plans.streams import APART, TOGETHER, Planned, Planner, best_stream
from sparsegen.hetero.stages.kept import plan_in_stages
from sparsegen.hetero.stages.table_plan import in_table_stages, leaves_room
from sparsegen.hetero.stages.whole_calls import by_whole_calls
from sparsegen.progress import Listener
from sparsegen.typed import typed


@typed
def plan(
    model: Model | Application,
    example_inputs: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    devices: Machine | str | os.PathLike[str] | None = None,
    goal: Goal = "latency",
    granularity: Granularity = "layer",
    name: str = "",
    cache: CostCache | None = None,
    measure: bool = True,
    listen: Listener | None = None,
) -> PlannedModel:
    """The best plan that is found for a model on a machine's devices, ready to be called as the model is.

    model: a module in evaluation mode, an exported program, or an application of modules, whose states the
    plan carries from input to input.

    devices: a machine, a TOML file of devices, or None: this machine. goal: "latency", the least time of
    one input, or "throughput", the least time between results of a stream. granularity: of the operators
    that are placed, "layer", "block" or "model". name: what plans call the model. cache: of measured costs;
    None: this user's. `example_inputs` and `kwargs` are as in `sparsegen.compile`, and are what is measured
    with; an application's own where none are given. measure: False predicts what the cache does not know, and
    runs nothing. listen is told of each step.

    Where the only device is one CPU, the plan for latency is the sequential program, on all cores or on one
    thread, or stages of operators at once, whichever is measured to be the fastest; that for throughput is
    one program on all cores, copies, or a pipeline over the cores. Where it is a table that says what part of
    the device operators fill, the plan for latency may have stages, too, by that table. What carries a state
    gets neither stages nor copies.

    Raises OptionError for arguments of other types, and SparsegenError for a model or devices that cannot be
    had, where no device runs an operator, and where too little was measured to predict from.
    """
    machine = machine_of(devices)
    graph: LayerGraph | CarriedGraph
    if isinstance(model, Application):
        graph, example_inputs = joined(model), example_inputs or model.examples
    else:
        graph = from_torch(model, example_inputs, kwargs)
    found = find_plan(
        graph,
        machine,
        example_inputs,
        goal=goal,
        granularity=granularity,
        name=name or type(model).__name__,
        cache=cache,
        measure=measure,
        listen=listen,
    )
    return PlannedModel.of(found, graph)


def find_plan(
    graph: LayerGraph | CarriedGraph,
    machine: Machine,
    inputs: tuple[Any, ...],
    *,
    goal: Goal = "latency",
    granularity: Granularity = "layer",
    name: str = "model",
    cache: CostCache | None = None,
    measure: bool = True,
    costs: bool = False,
    listen: Listener | None = None,
) -> Planned:
    """As `plan`, of a layer graph, by inputs in position; only the plan, and what it was made with.

    costs: those of the operators are found of a plan of stages, too, which is made without them.
    """
    whole = CarriedGraph.of(graph)
    subject = Subject(name, model_fingerprint(whole.graph, whole.carried), machine_name(machine))
    cache = CostCache(default_path()) if cache is None else cache
    only = machine.devices[0]
    alone = len(machine.devices) == 1 and only.kind == "cpu" and len(only.cores) > 1
    planner = Planner(whole, inputs, granularity, subject, cache, measure, listen)
    if alone and goal == "latency" and not whole.carried:
        tried = plan_in_stages(whole.graph, inputs, only, subject, cache, measure=measure, listen=listen)
        if tried.plan is not None:
            return Planned(tried.plan, machine, planner.costs(machine) if costs else None, tried.compiled)
        return by_whole_calls(planner.best(machine, goal), tried, whole.graph, inputs, measure=measure)
    split = by_core(machine) if goal == "throughput" else None
    if split is None:
        found = planner.best(machine, goal)
        shared = len(machine.computing) == 1 and leaves_room(machine.computing[0])
        return in_table_stages(found, whole) if shared and goal == "latency" and not whole.carried else found
    if alone:
        return best_stream(planner.streams(machine, split))
    return best_stream({TOGETHER: planner.best(machine, goal), APART: planner.best(split, goal)})


def machine_of(devices: Machine | str | os.PathLike[str] | None) -> Machine:
    """The machine that is meant: this one for None; raises DeviceError for a file that is none."""
    if isinstance(devices, Machine):
        return devices
    return this_machine() if devices is None else load_devices(Path(devices))
