"""Whether a sound plan is one of a model: it has all layers, and each operator gets the values it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sparsegen.errors import PlanError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import part_of
from sparsegen.hetero.plans.plan import Plan, PlannedOperator
from sparsegen.kernels.torch_own import torchs_layers

Parts = Mapping[str, LayerGraph]
"""Graphs of the operators that have layers, by the operators' names."""


def parts_of(plan: Plan, whole: CarriedGraph) -> Parts:
    """The part of a model's graph that each operator of a sound plan computes.

    Raises PlanError, which tells the first faults, for a plan that is not of this model: with layers that are
    not the model's, or too few; with operators that stand for nothing, or lack a value that they need.
    """
    there = {layer.name for layer in whole.graph.layers}
    named = {name for each in plan.operators for name in each.layers}
    _refuse(f"layer {name!r} is not the model's" for name in sorted(named - there))
    _refuse(f"layer {name!r} of the model is in no operator" for name in sorted(there - named))
    parts = {each.name: part_of(whole.graph, each.layers) for each in plan.operators if each.layers}
    _refuse(_role_faults(plan, whole))
    _refuse(_value_faults(plan, whole, parts))
    _refuse(_torch_faults(plan, parts))
    return parts


def check_reads(plan: Plan, graph: LayerGraph) -> None:
    """Raise PlanError for operators of stages on cores that do not read what gives their layers' values."""
    holder = {layer: each.name for each in plan.operators for layer in each.layers}
    needed: dict[str, set[str]] = {each.name: set() for each in plan.operators}
    for layer in graph.layers:
        if layer.name in holder:
            own = holder[layer.name]
            needed[own] |= {holder[name] for name in layer.reads() if name in holder} - {own}
    _refuse(
        f"operator {each.name} reads {', '.join(each.reads) or 'nothing'}, and its layers need "
        f"{', '.join(sorted(needed[each.name])) or 'nothing'}"
        for each in plan.operators
        if {*each.reads} != needed[each.name]
    )


def _refuse(faults: Iterator[str]) -> None:
    found = [*faults]
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise PlanError(f"the plan is not of this model: {'; '.join(found[:3])}{more}; make the plan again")


def _role_faults(plan: Plan, whole: CarriedGraph) -> Iterator[str]:
    """Operators that neither have layers, nor stand for an input, nor are the last one, for the results."""
    *others, last = plan.operators
    if last.layers or last.name in whole.inputs:
        yield f"the last operator, {last.name}, has to give the results, and stands for something else"
    for each in others:
        is_input = each.name in whole.inputs
        if each.layers and is_input:
            yield f"operator {each.name} has layers, and bears the name of an input"
        elif not each.layers and not is_input:
            yield f"operator {each.name} has no layers, and is no input: those are {', '.join(whole.inputs)}"
        elif is_input and (each.reads or each.carries):
            yield f"operator {each.name} is an input, and reads or carries others"


def _value_faults(plan: Plan, whole: CarriedGraph, parts: Parts) -> Iterator[str]:
    """Values that an operator needs, and that none of those that it reads or carries gives."""
    gives = {name: {*part.outputs} for name, part in parts.items()}
    for each in plan.operators:
        read = {value for name in each.reads for value in gives.get(name, {name})}
        carried = {value for name in each.carries for value in gives.get(name, ())}
        for value in _needs(each, plan, whole, parts):
            if value in whole.carried:
                if whole.carried[value] not in carried:
                    yield f"operator {each.name} needs the state {value!r}, which nothing brings it"
            elif value not in read:
                yield f"operator {each.name} needs {value!r}, which nothing that it reads gives"


def _torch_faults(plan: Plan, parts: Parts) -> Iterator[str]:
    """Layers that torch is to compute within our program, and has no operator for."""
    for each in plan.operators:
        lacking = sorted({*each.by_torch} - torchs_layers(parts[each.name])) if each.by_torch else ()
        yield from (f"operator {each.name}: torch has no operator for layer {name!r}" for name in lacking)


def _needs(operator: PlannedOperator, plan: Plan, whole: CarriedGraph, parts: Parts) -> tuple[str, ...]:
    if operator.name in parts:
        return tuple(parts[operator.name].inputs)
    return whole.results_read if operator is plan.operators[-1] else ()
