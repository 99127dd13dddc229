"""compile: a model through every room, in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from sparsegen.database.assign import SHIPPED, DatabaseLike, as_database, find_schedules
from sparsegen.dump import graph_text, next_dump
from sparsegen.errors import ScheduleError, foreign_errors, warn
from sparsegen.frontend import from_torch
from sparsegen.graph import Layer, LayerGraph, PlainCore
from sparsegen.kernels import Context, Kernel, build_kernel
from sparsegen.kernels.conversions import place_conversions
from sparsegen.kernels.operands import Value
from sparsegen.kernels.planning import padded_values, place_taps, plan_operands, use_batch_lanes
from sparsegen.kernels.registry import Memo
from sparsegen.kernels.separable import fuse_separable
from sparsegen.kernels.space import KernelSchedule
from sparsegen.lowering.assemble import assemble, value_lifetimes
from sparsegen.lowering.build import build
from sparsegen.lowering.extern import constants
from sparsegen.lowering.memory import plan_memory
from sparsegen.options import Fallback, check_count, check_fallback
from sparsegen.reports import reports
from sparsegen.runtime.forks import with_team
from sparsegen.runtime.inputs import InputForm
from sparsegen.runtime.model import CompiledModel
from sparsegen.stopwatch import part, record
from sparsegen.target import Target, available_cores, parse_target

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is settled before kernels are made: a graph with its taps placed, and what its kernels know.

    `source` is the frontend's graph, its depthwise convolutions fused where that is faster; `graph` is that
    with its taps and its conversions placed.
    """

    source: LayerGraph
    graph: LayerGraph
    context: Context

    def layer(self, name: str) -> Layer:
        """The layer of a name in `graph`."""
        return next(layer for layer in self.graph.layers if layer.name == name)


@record()
@foreign_errors()
def compile(
    model: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int | None = None,
    target: str = "native",
    database: DatabaseLike = SHIPPED,
    winograd: bool = True,
    fallback: Fallback = "torch",
) -> CompiledModel:
    """Compile a torch model, in evaluation mode, for the shapes and dtypes of example inputs.

    The model is called with `example_inputs` by position and `kwargs` by name, as torch.export.export takes
    them: tensors on the CPU, None, numbers and text, in tuples, lists, dicts and registered classes. None,
    numbers and text become part of what is compiled.

    Operators for which there is no kernel, and all on values that are not float32, are computed by torch
    itself, between the kernels: one warning names them, and `layers` of the result has them. With
    `fallback` "error" they are refused.

    Layers with zeros among their weights become sparse kernels. `threads` defaults to torch's;
    `target` is "native" or an LLVM CPU name.

    `database` is where tuned schedules come from: "shipped", those that come with the package; the
    path of a journal of `sparsegen tune` or of a file of `sparsegen schedules export`, which goes before
    the shipped ones; a `sparsegen.database.lookup.Database`; or None, for no tuned schedules. A layer gets
    the best one for its workload, else that of the nearest, else the default; `layers` of the
    result tells which, as `schedule_source`.

    Convolutions whose zeros save less than Winograd's minimal filtering does are computed by that, where
    `winograd` allows: results are then within some 1e-5 of their largest, not 1e-6.

    Torch's default dtype and device, autocast and inference mode change nothing. Several threads may compile
    at once.

    Weights of convolutions and linear layers must be finite, and their zeros are skipped: where an input is
    NaN or infinite, torch makes NaN of its product with a zero, and a sparse kernel nothing. Everywhere
    else infinities and NaN are values as any other.

    Raises ModelError for a model or example inputs that cannot be compiled, UnsupportedOperatorError where
    the model uses operators that cannot be compiled (all of them are in its `operators`), OptionError for
    threads or a fallback, TargetError for a target, JournalError for a database that cannot be read, and
    ToolchainError where gcc fails or room for files is missing.
    """
    started = time.perf_counter()
    schedules = as_database(database)
    check_fallback(fallback)

    def compiling() -> CompiledModel:
        graph = from_torch(model, example_inputs, kwargs, fallback=fallback)
        return compile_graph(graph, threads=threads, target=target, database=schedules, winograd=winograd)

    compiled = with_team(compiling)
    compiled.compile_seconds = time.perf_counter() - started
    return compiled


@record()
@foreign_errors()
def compile_graph(
    graph: LayerGraph,
    *,
    threads: int | None = None,
    target: str = "native",
    dense: bool = False,
    schedules: Mapping[str, KernelSchedule] | None = None,
    database: DatabaseLike = SHIPPED,
    winograd: bool = True,
) -> CompiledModel:
    """Compile a layer graph; `dense` multiplies every weight of the convolutions and linear layers.

    `schedules` are those of layers by name, for which none is looked up or chosen then; one of another
    kernel than the layer's is passed over. `database` and `winograd` are as in `compile`.

    Raises SparsegenError for a target, a number of threads, a database or a schedule that cannot be, and for
    a schedule of a layer that is not there.
    """
    started = time.perf_counter()
    cpu, threads, dump = parse_target(target), check_threads(threads), next_dump()
    plan = plan_graph(graph, threads=threads, target=cpu, dense=dense, schedules=schedules, winograd=winograd)
    placed, given = plan.graph, plan.context.schedules
    strange = given.keys() - {layer.name for layer in plan.source.layers}
    if strange:
        raise ScheduleError(f"schedules are given for {', '.join(sorted(strange))}: no layer is called so")
    found = find_schedules(plan.source, placed, plan.context, as_database(database))
    tuned = {name: each.schedule for name, each in found.items()}
    context = replace(plan.context, schedules={**tuned, **given})
    dump.write("graph", "graph", lambda: graph_text(placed))
    kernels, functions = build(_kernels(placed, context), cpu, dump)
    taken = {name for name, schedule in given.items() if kernels[name].schedule == schedule.as_dict()}
    sources = {name: each.how for name, each in found.items()} | dict.fromkeys(taken, "given")
    layouts = {
        name: operand.layout for name, operand in context.operands.items() if isinstance(operand, Value)
    }
    memory = plan_memory(value_lifetimes(placed, layouts))
    padded = padded_values(placed, layouts)
    program = assemble(placed, kernels, dict(zip(kernels, functions, strict=True)), layouts, memory, padded)
    compiled = CompiledModel(
        steps=program.steps,
        slots=program.slots,
        output_slots=program.outputs,
        layers=list(reports(placed, kernels, sources)),
        inputs=_input_forms(graph),
        output_shapes=[graph.shapes()[name] for name in graph.outputs],
        call=graph.call,
        output_spec=graph.output_spec,
        known_outputs=graph.known_outputs,
        constants=[each for layer in placed.layers for each in constants(layer)],
        threads=threads,
        peak_bytes=memory.peak_bytes,
        live_bytes=memory.live_bytes,
        compile_seconds=time.perf_counter() - started,
    )
    _tell(compiled)
    return compiled


def _kernels(graph: LayerGraph, context: Context) -> Iterator[tuple[str, Kernel]]:
    """Every kernel, by the name of its layer, made as it is asked for."""
    for layer in graph.layers:
        if not isinstance(layer.core, PlainCore):
            yield layer.name, build_kernel(layer, context)


def _input_forms(graph: LayerGraph) -> list[InputForm]:
    """What every input has to be; named where it can be given by name alone."""
    names = [f"input {i}" for i in range(len(graph.inputs))]
    if graph.call is not None and not graph.call.is_flat:
        names = [name for place, name in enumerate(graph.call.leaves) if place not in graph.call.fixed]
    dtypes = [getattr(torch, graph.input_dtype(name)) for name in graph.inputs]
    return list(map(InputForm, names, graph.inputs.values(), dtypes))


def _tell(compiled: CompiledModel) -> None:
    """Log what became of each layer."""
    for layer in compiled.layers:
        what = layer.kernel, layer.format, layer.density, layer.schedule_source or "no", layer.schedule
        _log.debug("layer %s: kernel %s, weights %s, density %.3f, %s schedule %s", layer.name, *what)
    _log.info("compiled in %.1f s, layers: %d", compiled.compile_seconds, len(compiled.layers))


@part("planning")
def plan_graph(
    graph: LayerGraph,
    *,
    threads: int,
    target: Target,
    dense: bool = False,
    schedules: Mapping[str, KernelSchedule] | None = None,
    winograd: bool = True,
) -> Plan:
    """The half of `compile_graph` before any kernel is made; the options are as there."""
    batch_lanes = use_batch_lanes(graph, target)
    lanes = "images" if batch_lanes else "pixels"
    _log.info("%d layers for %s: %d lanes hold %s", len(graph.layers), target.name, target.lanes, lanes)
    given, memo = schedules or {}, Memo()

    def planned(source: LayerGraph) -> Plan:
        placed = place_conversions(place_taps(source, batch_lanes=batch_lanes))
        operands = plan_operands(placed, lanes=target.lanes, batch_lanes=batch_lanes)
        return Plan(source, placed, Context(operands, target, threads, dense, winograd, given, memo))

    plan = planned(graph)
    if not batch_lanes:
        return plan
    fused = fuse_separable(graph, plan.graph, plan.context)
    _log.info("%d depthwise convolutions are fused", len(graph.layers) - len(fused.layers))
    return plan if len(fused.layers) == len(graph.layers) else planned(fused)


def check_threads(threads: int | None) -> int:
    """The number of threads, torch's for None; OptionError below 1, a warning above the cores."""
    if threads is None:
        return torch.get_num_threads()
    check_count("threads", threads, 1)
    cores = available_cores()
    if threads > cores:
        warn(f"{threads} threads on {cores} cores: threads will wait for each other")
    return threads
