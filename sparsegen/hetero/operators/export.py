"""Operators written down, for other schedulers: what `sparsegen place --export-operators` writes.

A JSON object, of schema 1; docs/operators.md explains it with an example.

    schema        1
    model         what the user called it
    fingerprint   a digest of the whole graph, but for names and the values of weights
    granularity   "layer", "block" or "model"; "application" where modules were put together by hand
    inputs        the model's: name, shape, dtype
    outputs       the names of the values that the model gives, in order
    operators     in an order that runs, each an object:
        name            unique among operators and inputs
        layers          the layers of the model's graph that it consists of
        reads           names of operators and inputs that have to be there first
        carries         operators whose results for the input before it needs
        inputs          the values that it takes, in order: name, shape, dtype
        outputs         the values that it gives, in order: name, shape, dtype
        bytes           of all outputs
        kinds           of its layers and their pointwise steps: "conv2d", "relu", "aten.topk.default"
        multiply_adds   for one input, zeros included
        weight_bytes    in float32, zeros included
        density         share of its weights that are not zero
        fingerprint     a digest: operators with the same one take as long
        implementations what can run it: device, implementation, threads, seconds, origin

A value is called by the layer that makes it, and where it is an input of the model, by that. Seconds are of
one run alone, its inputs and results on the device; `origin` is "measured", "predicted", "roofline" or
"table".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from sparsegen.cost import AnyOrigin
from sparsegen.errors import ProblemError
from sparsegen.graph import LayerGraph, ValueForm
from sparsegen.hetero.operators.cut import Granularity, operators, part_of, value_forms
from sparsegen.hetero.operators.fingerprint import fingerprint, model_fingerprint
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.operators.work import Work, work_of
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task
from sparsegen.typed import typed

SCHEMA = 1
ORIGINS: tuple[AnyOrigin, ...] = get_args(AnyOrigin)


@dataclass(frozen=True)
class OperatorCost:
    """What an operator takes on a device, by one of its implementations, and how that is known."""

    device: str
    implementation: str
    threads: int
    seconds: float
    origin: AnyOrigin


@dataclass(frozen=True)
class ExportedOperator:
    """An operator, what it does, and what can run it."""

    operator: Operator
    work: Work
    fingerprint: str
    implementations: tuple[OperatorCost, ...] = ()


@dataclass(frozen=True)
class ExportedModel:
    """The operators of a model, in an order that runs; see the module for the fields."""

    model: str
    fingerprint: str
    granularity: str
    inputs: tuple[ValueForm, ...]
    outputs: tuple[str, ...]
    operators: tuple[ExportedOperator, ...]


@typed
def export_operators(
    graph: LayerGraph,
    model: str,
    granularity: Granularity = "block",
    *,
    carried: Mapping[str, str] | None = None,
    costs: Mapping[str, Iterable[OperatorCost]] | None = None,
) -> ExportedModel:
    """The operators of a graph with what is known of them; `costs` by the operators' names.

    Raises ProblemError for costs of operators that are not there, and as `cut.operators` does.
    """
    found = operators(graph, granularity, carried=carried)
    known = dict(costs or {})
    strange = known.keys() - {each.name for each in found}
    if strange:
        raise ProblemError(f"costs are given for {', '.join(sorted(strange))}: no operator is called so")
    forms = value_forms(graph)
    parts = {each.name: part_of(graph, each.layers) for each in found}
    return ExportedModel(
        model=model,
        fingerprint=model_fingerprint(graph),
        granularity=granularity,
        inputs=tuple(forms[name] for name in graph.inputs),
        outputs=graph.outputs,
        operators=tuple(
            ExportedOperator(
                each,
                work_of(parts[each.name]),
                fingerprint(parts[each.name]),
                tuple(known.get(each.name, ())),
            )
            for each in found
        ),
    )


@typed
def as_problem(
    exported: ExportedModel, *, links: Iterable[Link] = (), stores: Mapping[str, Store] | None = None
) -> Problem:
    """What a scheduler has to solve: every device's time is that of its fastest implementation.

    The devices are all that some implementation names, in order. Reads of the model's inputs are left out:
    they are everywhere.

    Raises ProblemError for an operator that nothing can run.
    """
    names = {each.operator.name for each in exported.operators}
    devices = dict.fromkeys(cost.device for each in exported.operators for cost in each.implementations)
    tasks = []
    for each in exported.operators:
        times: dict[str, float] = {}
        for cost in each.implementations:
            times[cost.device] = min(cost.seconds, times.get(cost.device, math.inf))
        operator = each.operator
        if not times:
            raise ProblemError(
                f"operator {operator.name!r} has no implementation with a cost: measure it, or give a device "
                "that supports it"
            )
        tasks.append(
            Task(
                name=operator.name,
                reads=tuple(name for name in operator.reads if name in names),
                bytes=operator.bytes,
                times=times,
                carries=operator.carries,
                weights=each.work.weight_bytes,
            )
        )
    return Problem(tuple(devices), tuple(tasks), tuple(links), dict(stores or {}))


@typed
def to_json(exported: ExportedModel) -> str:
    """The text of the file."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "model": exported.model,
            "fingerprint": exported.fingerprint,
            "granularity": exported.granularity,
            "inputs": [asdict(form) for form in exported.inputs],
            "outputs": exported.outputs,
            "operators": [_operator_json(each) for each in exported.operators],
        },
        indent=1,
    )


def _operator_json(each: ExportedOperator) -> dict[str, Any]:
    return {
        **asdict(each.operator),
        "bytes": each.operator.bytes,
        **asdict(each.work),
        "fingerprint": each.fingerprint,
        "implementations": [asdict(cost) for cost in each.implementations],
    }
