"""compile: a model through every room, in order."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import torch

from sparsegen.cache.compiled import found_or_made, model_cache
from sparsegen.cpuinfo import available_cores
from sparsegen.database.assign import SHIPPED, DatabaseLike, as_database, find_schedules
from sparsegen.database.lookup import Database
from sparsegen.dump import graph_text, next_dump
from sparsegen.errors import ScheduleError, foreign_errors, warn
from sparsegen.frontend import for_any_batch, from_torch, of_batch
from sparsegen.frontend.modules import Model
from sparsegen.graph import LayerGraph, PlainCore
from sparsegen.kernels import Kernel, build_kernel
from sparsegen.kernels.plan import GIVEN, PlannedGraph, plan_graph
from sparsegen.kernels.space import KernelSchedule
from sparsegen.lowering.assemble import Placed, assemble, value_lifetimes
from sparsegen.lowering.build import build
from sparsegen.lowering.memory import plan_memory
from sparsegen.options import (
    Approximate,
    Fallback,
    check_approximate,
    check_batches,
    check_fallback,
    check_thread_count,
)
from sparsegen.reports import reports
from sparsegen.rewriting.approximate_steps import approximate_steps
from sparsegen.runtime.batched import BatchedModel, bind_batches
from sparsegen.runtime.forks import with_team
from sparsegen.runtime.model import CompiledModel, bind
from sparsegen.runtime.program import Program
from sparsegen.stopwatch import record
from sparsegen.target import calibrated, parse_target

_log = logging.getLogger(__name__)


@overload
def compile(
    model: Model,
    example_inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    batches: None = None,
    threads: int | None = None,
    target: str = "native",
    database: DatabaseLike = SHIPPED,
    winograd: bool = True,
    fallback: Fallback = "torch",
    calibration: str | os.PathLike[str] | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
    approximate: Approximate = None,
    cache: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CompiledModel: ...


@overload
def compile(
    model: Model,
    example_inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    batches: Sequence[int],
    threads: int | None = None,
    target: str = "native",
    database: DatabaseLike = SHIPPED,
    winograd: bool = True,
    fallback: Fallback = "torch",
    calibration: str | os.PathLike[str] | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
    approximate: Approximate = None,
    cache: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> BatchedModel: ...


@record()
@foreign_errors()
def compile(
    model: Model,
    example_inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    batches: Sequence[int] | None = None,
    threads: int | None = None,
    target: str = "native",
    database: DatabaseLike = SHIPPED,
    winograd: bool = True,
    fallback: Fallback = "torch",
    calibration: str | os.PathLike[str] | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
    approximate: Approximate = None,
    cache: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CompiledModel | BatchedModel:
    """Compile a torch model, in evaluation mode, for the shapes and dtypes of example inputs.

    The model is called with `example_inputs` by position and `kwargs` by name, as torch.export.export takes
    them: tensors on the CPU, None, numbers and text, in tuples, lists, dicts and registered classes. None,
    numbers and text become part of what is compiled.

    Operators for which there is no kernel, and all on values that are not float32, are computed by torch
    itself, between the kernels: one warning names them, and `layers` of the result has them. With
    `fallback` "error" they are refused.

    With `batches`, such as [1, 4, 16], it is compiled for each of them, and serves any number of rows: those
    of the example inputs are left out, or come again, and an exported program's batch has to be dynamic.
    Weights that are packed alike are in memory once.

    Layers with zeros among their weights become sparse kernels. `threads` defaults to torch's;
    `target` is "native" or an LLVM CPU name.

    `database` is where tuned schedules come from: "shipped", those that come with the package; the
    path of a journal of `sparsegen tune` or of a file of `sparsegen schedules export`, which goes before
    the shipped ones; a `sparsegen.database.lookup.Database`; or None, for no tuned schedules. A layer gets
    the best one for its workload, else that of the nearest, else the default; `layers` of the
    result tells which, as `schedule_source`.

    Convolutions whose zeros save less than Winograd's minimal filtering does are computed by that, where
    `winograd` allows: results are then within some 1e-5 of their largest, not 1e-6.

    Costs of kernels of different kinds are compared in seconds: with the clock and bandwidth of the CPU's
    family, so that the same model gives the same code on every machine, or with those that a machine was
    measured to have, in a `calibration` file of `sparsegen calibrate`. What is known of single layers goes
    before both: `measured` has seconds, by the layer's name, of implementations ("panels", "dense_panels",
    "winograd", "grouped", "depthwise", "separable", "rows", "masked_vectors", "matmul", ...: a name that is
    none of the layer's operator is told those), and of "torch", its own operator. That computes the layer
    where it is faster than all kernels, the conversions around it counted. Times of an implementation that
    cannot compute a layer count for nothing, and `reason` in `layers` of the result says so. All kernels
    here have one clock: a calibration matters beside such times, and to kernels of other packages.

    `approximate` is an absolute error, such as 1e-3, that the functions gelu, silu, tanh and their like may
    have in a layer's epilogue, or such errors by their names: `{"gelu": 1e-2}` (`options.APPROXIMATED` has
    all). Where that takes less time, they become piecewise linear functions within this error, beside what
    float32 rounds; `layers` of the result tells which, of how many knots, with which error, and which stayed
    exact and why. None leaves all exact.

    What was compiled before, with the same versions, weights, shapes and options, is found in a `cache`: in
    the folder `cache_dir`, in that of the environment variable SPARSEGEN_CACHE, or in ~/.cache/sparsegen,
    which has to be the user's own, of mode 0700. It holds 4 GiB at most, and gives up what was used longest
    ago.

    Torch's default dtype and device, autocast and inference mode change nothing. Several threads may compile
    at once.

    Weights of convolutions and linear layers must be finite, and their zeros are skipped: where an input is
    NaN or infinite, torch makes NaN of its product with a zero, and a sparse kernel nothing. Everywhere
    else infinities and NaN are values as any other.

    Raises ModelError for a model or example inputs that cannot be compiled, UnsupportedOperatorError where
    the model uses operators that cannot be compiled (all of them are in its `operators`), OptionError for
    batches, threads, a fallback, measured times or an error to approximate with, TargetError for a target,
    JournalError and CalibrationError for files that cannot be read, FileError for a `cache_dir` that cannot
    be used, and ToolchainError where gcc fails or room for files is missing.
    """
    started = time.perf_counter()
    schedules = as_database(database)
    check_fallback(fallback)
    approximate = check_approximate(approximate)
    threads = None if threads is None else check_thread_count(threads)
    kept = model_cache(cache, cache_dir)
    options: dict[str, Any] = {
        "database": schedules,
        "winograd": winograd,
        "measured": measured,
        "approximate": approximate,
    }

    def compiling(model: Model, args: tuple[Any, ...], named: Mapping[str, Any] | None) -> CompiledModel:
        graph = from_torch(model, args, named, fallback=fallback)
        cpu = calibrated(parse_target(target), calibration)
        team = torch.get_num_threads() if threads is None else threads

        def make() -> CompiledModel:
            return compile_graph(graph, threads=threads, target=target, calibration=calibration, **options)

        return found_or_made(kept, graph, {"target": cpu, "threads": team, **options}, make)

    def compiling_all(batches: Sequence[int]) -> BatchedModel:
        batches = check_batches(batches)
        source = for_any_batch(model)
        models = [compiling(source, *of_batch(example_inputs, kwargs or {}, batch)) for batch in batches]
        return bind_batches([each.program for each in models])

    compiled: CompiledModel | BatchedModel
    if batches is None:
        compiled = with_team(lambda: compiling(model, example_inputs, kwargs))
    else:
        compiled = with_team(lambda: compiling_all(batches))
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
    calibration: str | os.PathLike[str] | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
    approximate: Approximate = None,
) -> CompiledModel:
    """Compile a layer graph; `dense` multiplies every weight of the convolutions and linear layers.

    `schedules` are those of layers by name, for which none is looked up or chosen then; one of another
    kernel than the layer's is passed over. `database`, `winograd`, `calibration`,
    `measured` and `approximate` are as in `compile`.

    Raises SparsegenError for a target, a number of threads, a database, an error or a schedule that cannot
    be, and for a schedule of a layer that is not there.
    """
    started = time.perf_counter()
    approximate = check_approximate(approximate)
    cpu, threads = calibrated(parse_target(target), calibration), check_threads(threads)
    plan = plan_graph(
        approximate_steps(graph, approximate),
        threads=threads,
        target=cpu,
        dense=dense,
        schedules=schedules,
        winograd=winograd,
        measured=measured,
    )
    compiled = compile_plan(find_tuned(plan, as_database(database)))
    compiled.compile_seconds = time.perf_counter() - started
    _tell(compiled)
    return compiled


@record()
@foreign_errors()
def compile_elsewhere(
    graph: LayerGraph, *, threads: int, target: str, winograd: bool = True, approximate: Approximate = None
) -> Program:
    """The program of a layer graph for any CPU, which this machine need not be; by the shipped schedules.

    Raises SparsegenError for a target or an error to approximate with, and where gcc or memory fails.
    """
    cpu = parse_target(target, elsewhere=True)
    steps = approximate_steps(graph, approximate)
    plan = plan_graph(steps, threads=threads, target=cpu, winograd=winograd)
    return program_of(find_tuned(plan, as_database(SHIPPED)))


def default_plan(graph: LayerGraph, threads: int) -> PlannedGraph:
    """The plan by which `compile_graph` compiles a graph for this machine, if nothing else is asked for."""
    return find_tuned(plan_graph(graph, threads=threads, target=parse_target()), as_database(SHIPPED))


def find_tuned(plan: PlannedGraph, database: Database) -> PlannedGraph:
    """The plan with the tuned schedules of a database, where none are given.

    Raises ScheduleError for a schedule that is given for a layer that is not there.
    """
    given = plan.context.schedules
    strange = given.keys() - {layer.name for layer in plan.source.layers}
    if strange:
        raise ScheduleError(f"schedules are given for {', '.join(sorted(strange))}: no layer is called so")
    found = find_schedules(plan.source, plan.graph, plan.contexts(), database)
    tuned = {name: each.schedule for name, each in found.items()}
    sources = {name: each.how for name, each in found.items()}
    return replace(
        plan,
        context=replace(plan.context, schedules={**tuned, **given}),
        sources={**sources, **dict.fromkeys(given, GIVEN)},
    )


def compile_plan(plan: PlannedGraph) -> CompiledModel:
    """The model of a plan, or of a part of one; raises as `program_of` does."""
    return bind(program_of(plan))


def program_of(plan: PlannedGraph) -> Program:
    """The program of a plan, or of a part of one: kernels made and compiled, and put together.

    Raises SparsegenError for a schedule that cannot be, and where gcc or memory fails.
    """
    graph, context, dump = plan.graph, plan.context, next_dump()
    dump.write("graph", "graph", lambda: graph_text(graph))
    built = build(_kernels(plan), context.target, dump)
    layouts, stages = plan.layouts(layer.name for layer in graph.layers), plan.call_stages()
    memory = plan_memory(value_lifetimes(graph, layouts, stages))
    placed = Placed(layouts, memory, plan.padded, plan.layouts(graph.inputs))
    told = reports(graph, built.kernels, plan.schedule_sources(built.kernels), plan.unserved)
    return assemble(graph, built, placed, context.target, context.threads, told, stages)


def _kernels(plan: PlannedGraph) -> Iterator[tuple[str, Kernel]]:
    """Every kernel, by the name of its layer, made as it is asked for."""
    contexts = plan.contexts()
    for layer in plan.graph.layers:
        if not isinstance(layer.core, PlainCore):
            yield layer.name, build_kernel(layer, contexts[layer.name])


def _tell(compiled: CompiledModel) -> None:
    """Log what became of each layer."""
    for layer in compiled.layers:
        what = layer.kernel, layer.format, layer.density, layer.schedule_source or "no", layer.schedule
        _log.debug("layer %s: kernel %s, weights %s, density %.3f, %s schedule %s", layer.name, *what)
    _log.info("compiled in %.1f s, layers: %d", compiled.compile_seconds, len(compiled.layers))


def check_threads(threads: int | None) -> int:
    """The number of threads, torch's for None; OptionError for too few or many, a warning above the cores."""
    if threads is None:
        return torch.get_num_threads()
    threads = check_thread_count(threads)
    cores = available_cores()
    if threads > cores:
        warn(f"{threads} threads on {cores} cores: threads will wait for each other")
    return threads
