"""Tuned schedules for the layers of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sparsegen.database.lookup import Database, Found
from sparsegen.database.workload import Setting, setting_here, workload_of
from sparsegen.errors import JournalError
from sparsegen.graph import LayerGraph
from sparsegen.kernels.planning import use_batch_lanes
from sparsegen.kernels.registry import Context, space_of
from sparsegen.stopwatch import part

DatabaseLike = str | os.PathLike[str] | Database | None
"""What stands for a database: see `as_database`."""

SHIPPED = "shipped"


def as_database(database: DatabaseLike) -> Database:
    """The database that is meant.

    "shipped": the schedules that come with the package; None: no schedules; a path: those of the
    journal or exported file, and behind them the shipped ones. Raises SparsegenError for anything else, and
    for a file that cannot be read.
    """
    match database:
        case None:
            return Database()
        case Database():
            return database
        case str() | os.PathLike():
            shipped = Database.shipped()
            return shipped if database == SHIPPED else Database.read(database) | shipped
    raise JournalError(
        f"database is a {type(database).__name__}: give 'shipped', the path of a journal or of exported "
        "schedules, a Database, or None"
    )


@part("tuned schedules")
def find_schedules(
    graph: LayerGraph, placed: LayerGraph, contexts: Mapping[str, Context], database: Database
) -> dict[str, Found]:
    """Tuned schedules by layer of `graph`, a plan's source, where the layer's context gives no schedule.

    `placed` is that graph with its taps placed. Layers without a tuned schedule are left out.
    """
    if not database.schedules or not graph.layers:
        return {}
    shapes, found = graph.shapes(), dict[str, Found]()
    lowered = {layer.name: layer for layer in placed.layers}
    settings = dict[int, Setting]()
    batch_lanes = use_batch_lanes(graph, next(iter(contexts.values())).target)
    for layer in graph.layers:
        context = contexts[layer.name]
        if layer.name in context.schedules:
            continue
        if context.threads not in settings:
            settings[context.threads] = setting_here(context.target, context.threads)
        setting = settings[context.threads]
        source = shapes[layer.inputs[0]]
        # Shapes come first: a structure takes longer to be told, and a space to be made.
        workload = workload_of(layer, source, batch_lanes=batch_lanes, dense=True)
        if workload is None or not database.covers(workload, setting):
            continue
        space = space_of(lowered[layer.name], context)
        if space is None:
            continue
        if not context.dense:
            workload = workload_of(layer, source, batch_lanes=batch_lanes)
            assert workload is not None
        schedule = database.find(workload, setting, space)
        if schedule is not None:
            found[layer.name] = schedule
    return found
