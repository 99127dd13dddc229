"""Pointwise work on fewer dimensions."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import BINARY, SELECTIONS, UNARY
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("fewer dimensions by reshape", *UNARY, *BINARY, *SELECTIONS, within_limits=True)
def pointwise_on_fewer(site: Site, draft: Draft) -> str:
    """All but the last two dimensions become one: the channels of one image."""
    step = site.step
    assert step is not None
    if len(site.shape) < 4 or math.prod(site.shape[:-3]) == 1:
        raise RefusalError("it has one image, or no more than three dimensions")
    value, operand = _merged(site, draft, site.input), step.operand
    if isinstance(operand, str) and (math.prod(site.shapes[operand]) > 1 or len(site.shapes[operand]) > 4):
        operand = _merged(site, draft, operand)
    made = draft.step(value, step.op, operand, reverse=step.reverse, parameters=step.parameters)
    return reshaped(draft, made, site.shape)


def _merged(site: Site, draft: Draft, value: str) -> str:
    """The value as [1, C, H, W], or what broadcasts to that as it does to the result."""
    shape, first = site.shapes[value], site.shape[:-2]
    shape = (*(1 for _ in range(len(site.shape) - len(shape))), *shape)
    merged = (1, math.prod(first), *shape[-2:])
    if shape[:-2] == first:
        return reshaped(draft, value, merged)
    if value in site.constants:
        array = np.broadcast_to(site.constants[value], (*first, *shape[-2:]))
        return draft.constant(np.ascontiguousarray(array.reshape(merged)))
    raise RefusalError(f"a value of shape {site.shapes[value]} is broadcast to {site.shape}")
