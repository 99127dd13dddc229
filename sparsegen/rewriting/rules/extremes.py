"""Absolute values, maxima and minima."""

from __future__ import annotations

import math

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.rules.arithmetic import negative_operand
from sparsegen.rewriting.site import Site


@rule("absolute value by ReLUs", "abs")
def absolute_by_relus(site: Site, draft: Draft) -> str:
    """relu(x) + relu(-x)."""
    below = draft.step(draft.step(site.input, "neg"), "relu")
    return draft.step(draft.step(site.input, "relu"), "add", below)


@rule("absolute value by maximum", "abs")
def absolute_by_maximum(site: Site, draft: Draft) -> str:
    """max(x, -x)."""
    return draft.step(site.input, "maximum", draft.step(site.input, "neg"))


@rule("ReLU by maximum", "relu")
def relu_by_maximum(site: Site, draft: Draft) -> str:
    """max(x, 0)."""
    return draft.step(site.input, "maximum", 0.0)


@rule("maximum by ReLU", "maximum")
def maximum_by_relu(site: Site, draft: Draft) -> str:
    """relu(a - b) + b."""
    operand = _finite(site)
    if operand == 0:
        return draft.step(site.input, "relu")
    return draft.step(draft.step(draft.step(site.input, "sub", operand), "relu"), "add", operand)


@rule("minimum by ReLU", "minimum")
def minimum_by_relu(site: Site, draft: Draft) -> str:
    """Gives b - relu(b - a)."""
    operand = _finite(site)
    below = draft.step(draft.step(site.input, "sub", operand, reverse=True), "relu")
    return draft.step(below, "sub", operand, reverse=True)


@rule("maximum by minimum", "maximum")
def maximum_by_minimum(site: Site, draft: Draft) -> str:
    """-min(-a, -b)."""
    return _by_opposite(site, draft, "minimum")


@rule("minimum by maximum", "minimum")
def minimum_by_maximum(site: Site, draft: Draft) -> str:
    """-max(-a, -b)."""
    return _by_opposite(site, draft, "maximum")


def _by_opposite(site: Site, draft: Draft, op: str) -> str:
    negative = draft.step(site.input, "neg")
    return draft.step(draft.step(negative, op, negative_operand(site, draft)), "neg")


@rule("extreme of a number by clamp", "maximum", "minimum")
def extreme_by_clamp(site: Site, draft: Draft) -> str:
    """A clamp with one bound."""
    operand = site.operand
    if operand is None or isinstance(operand, str):
        raise RefusalError("its bound is no number")
    bounds = (operand, math.inf) if site.name == "maximum" else (-math.inf, operand)
    return draft.step(site.input, "clamp", parameters=bounds)


def _finite(site: Site) -> str | float:
    operand = site.operand
    assert operand is not None
    if not isinstance(operand, str) and not math.isfinite(operand):
        raise RefusalError(f"its bound is {operand:g}")
    return operand
