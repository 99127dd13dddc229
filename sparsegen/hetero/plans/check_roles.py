"""Whether the operators of a plan have the parts of those of a model's plan, whatever the model is.

An input is passed on, and reads nothing; the result, which is the last operator, is passed on, too, and reads
what it gives; every other operator computes layers, of what it reads or carries. Stages on cores have neither
inputs nor a result: their program takes and gives these itself. Whether the layers are the model's tells
`check_model`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsegen.hetero.plans.plan import OURS, PASSED_ON, Plan, PlannedOperator


def role_faults(plan: Plan) -> Iterator[str]:
    """What is wrong with a plan of a model whose names are good, a sentence each."""
    for each in plan.operators:
        if each.implementation == PASSED_ON and each.seconds > 0:
            yield f"operator {each.name} is passed on, and takes {each.seconds:g} s"
        if each.implementation != PASSED_ON and not each.layers:
            yield f"operator {each.name} computes, by {each.implementation}, and has no layers to compute"
    on_cores = plan.form == "stages" and plan.staged_kind == "cpu"
    yield from _others_in_stages(plan) if on_cores else _end_faults(plan)
    yield from _measured_faults(plan, whole=not on_cores)


def _others_in_stages(plan: Plan) -> Iterator[str]:
    """Operators of stages on cores that are no part of the one program of ours."""
    for each in plan.operators:
        if each.implementation != OURS:
            by = repr(each.implementation)
            yield f"operator {each.name} is computed by {by}, and stages on cores are a program of ours"


def _end_faults(plan: Plan) -> Iterator[str]:
    """A missing result, and operators that compute of nothing."""
    *others, last = plan.operators
    if last.implementation != PASSED_ON:
        yield f"the last operator, {last.name}, computes something: the result has to come there"
    elif not _needs(last) and not any(each.carries for each in others):  # all that is for may be a state
        yield f"the result, {last.name}, reads nothing"
    for each in others:
        if each.implementation == PASSED_ON and _needs(each):
            yield f"operator {each.name} is passed on before the result, and reads or carries others"
        if each.implementation != PASSED_ON and not _needs(each):
            yield f"operator {each.name} computes, and reads neither an input nor another operator"
        if last.name in _needs(each):
            yield f"operator {each.name} reads or carries the result, {last.name}"


def _measured_faults(plan: Plan, *, whole: bool) -> Iterator[str]:
    """Measured seconds of operators that the plan has not, and a lack of such, where all are measured."""
    if plan.measured is None:
        return
    names, measured = {each.name for each in plan.operators}, plan.measured.operators.keys()
    yield from (f"{name!r} was measured, and is no operator" for name in sorted(measured - names))
    if whole:
        yield from (f"operator {name} was not measured, as others were" for name in sorted(names - measured))
    if plan.measured.inputs < 1:
        yield f"{plan.measured.inputs} inputs were measured, where at least 1 is expected"


def _needs(operator: PlannedOperator) -> tuple[str, ...]:
    return (*operator.reads, *operator.carries)
