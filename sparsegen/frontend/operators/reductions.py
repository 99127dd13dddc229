"""Sums, means, extremes, products, variances, norms and softmax over whole dimensions."""

from __future__ import annotations

import math
from typing import Any

import torch

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import LogSoftmax, Mean, Reduce, Softmax, Step

Dims = list[int] | int | None


def _reduced(
    site: CallSite, kind: Any, value: NodeValue, dims: Dims, keepdim: bool, *steps: Step
) -> NodeValue:
    """A reduction over dimensions, of which none stand for all, and steps on its result."""
    vector = value if site.shape_of(value) else reshape_to(site, value, (1,))
    core = Reduce(kind, _positive(site, vector, dims), keepdim and bool(site.shape_of(value)))
    return site.layer(core, vector, epilogue=steps)


def _positive(site: CallSite, value: NodeValue, dims: Dims) -> tuple[int, ...]:
    rank = len(site.shape_of(value))
    given = [dims] if isinstance(dims, int) else dims
    return tuple(sorted(dim % rank for dim in given or range(rank)))


@operator("aten.mean.dim")
def mean(site: CallSite, value: NodeValue, dims: Dims, keepdim: bool, dtype: torch.dtype | None) -> NodeValue:
    if not site.shape_of(value):
        return value
    return site.layer(Mean(_positive(site, value, dims), keepdim), value)


@operator("aten.mean.default")
def mean_of_all(site: CallSite, value: NodeValue, dtype: torch.dtype | None) -> NodeValue:
    return mean(site, value, None, False, dtype)


@operator("aten.sum.dim_IntList")
def sum_over(
    site: CallSite, value: NodeValue, dims: Dims, keepdim: bool, dtype: torch.dtype | None
) -> NodeValue:
    return _reduced(site, "sum", value, dims, keepdim)


@operator("aten.sum.default")
def sum_of_all(site: CallSite, value: NodeValue, dtype: torch.dtype | None) -> NodeValue:
    return _reduced(site, "sum", value, None, False)


@operator("aten.amax.default")
def largest(site: CallSite, value: NodeValue, dims: Dims, keepdim: bool) -> NodeValue:
    return _reduced(site, "max", value, dims, keepdim)


@operator("aten.amin.default")
def smallest(site: CallSite, value: NodeValue, dims: Dims, keepdim: bool) -> NodeValue:
    return _reduced(site, "min", value, dims, keepdim)


@operator("aten.max.default")
def largest_of_all(site: CallSite, value: NodeValue) -> NodeValue:
    return _reduced(site, "max", value, None, False)


@operator("aten.min.default")
def smallest_of_all(site: CallSite, value: NodeValue) -> NodeValue:
    return _reduced(site, "min", value, None, False)


@operator("aten.max.dim")
def largest_and_place(site: CallSite, value: NodeValue, dim: int, keepdim: bool) -> tuple[NodeValue, None]:
    return _reduced(site, "max", value, dim, keepdim), None


@operator("aten.min.dim")
def smallest_and_place(site: CallSite, value: NodeValue, dim: int, keepdim: bool) -> tuple[NodeValue, None]:
    return _reduced(site, "min", value, dim, keepdim), None


@operator("aten.prod.dim_int")
def product_over(
    site: CallSite, value: NodeValue, dim: int, keepdim: bool, dtype: torch.dtype | None
) -> NodeValue:
    return _reduced(site, "prod", value, dim, keepdim)


@operator("aten.prod.default")
def product_of_all(site: CallSite, value: NodeValue, dtype: torch.dtype | None) -> NodeValue:
    return _reduced(site, "prod", value, None, False)


@operator("aten.logsumexp.default")
def logsumexp(site: CallSite, value: NodeValue, dims: Dims, keepdim: bool) -> NodeValue:
    return _reduced(site, "logsumexp", value, dims, keepdim)


@operator("aten.var.correction")
def variance(
    site: CallSite, value: NodeValue, dims: Dims, correction: float | None, keepdim: bool, *steps: Step
) -> NodeValue:
    """The sum of squared deviations over the number of elements less the correction, 0 at least."""
    extents = site.shape_of(value) or (1,)
    count = math.prod(extents[dim] for dim in _positive(site, value, dims)) if site.shape_of(value) else 1
    divisor = max(0.0, count - (1.0 if correction is None else float(correction)))
    return _reduced(site, "deviations", value, dims, keepdim, Step("div", operand=divisor), *steps)


@operator("aten.std.correction")
def deviation(
    site: CallSite, value: NodeValue, dims: Dims, correction: float | None, keepdim: bool
) -> NodeValue:
    return variance(site, value, dims, correction, keepdim, Step("sqrt"))


@operator("aten.var_mean.correction")
def variance_and_mean(
    site: CallSite, value: NodeValue, dims: Dims, correction: float | None, keepdim: bool
) -> tuple[NodeValue, NodeValue]:
    return variance(site, value, dims, correction, keepdim), mean(site, value, dims, keepdim, None)


@operator("aten.std_mean.correction")
def deviation_and_mean(
    site: CallSite, value: NodeValue, dims: Dims, correction: float | None, keepdim: bool
) -> tuple[NodeValue, NodeValue]:
    return deviation(site, value, dims, correction, keepdim), mean(site, value, dims, keepdim, None)


@operator("aten.var.dim")
def variance_over(site: CallSite, value: NodeValue, dims: Dims, unbiased: bool, keepdim: bool) -> NodeValue:
    return variance(site, value, dims, float(unbiased), keepdim)


@operator("aten.std.dim")
def deviation_over(site: CallSite, value: NodeValue, dims: Dims, unbiased: bool, keepdim: bool) -> NodeValue:
    return deviation(site, value, dims, float(unbiased), keepdim)


@operator("aten.var_mean.dim")
def variance_and_mean_over(
    site: CallSite, value: NodeValue, dims: Dims, unbiased: bool, keepdim: bool
) -> tuple[NodeValue, NodeValue]:
    return variance_and_mean(site, value, dims, float(unbiased), keepdim)


@operator("aten.var.default")
def variance_of_all(site: CallSite, value: NodeValue, unbiased: bool) -> NodeValue:
    return variance(site, value, None, float(unbiased), False)


@operator("aten.std.default")
def deviation_of_all(site: CallSite, value: NodeValue, unbiased: bool) -> NodeValue:
    return deviation(site, value, None, float(unbiased), False)


@operator("aten.linalg_vector_norm.default")
def norm(
    site: CallSite, value: NodeValue, order: float, dims: Dims, keepdim: bool, dtype: torch.dtype | None
) -> NodeValue:
    """The 1-norm, 2-norm, and the largest or smallest magnitude."""
    if order == 1:
        return _reduced(site, "magnitudes", value, dims, keepdim)
    if order == 2:
        return _reduced(site, "squares", value, dims, keepdim, Step("sqrt"))
    if math.isinf(order):
        magnitudes = site.pointwise(value, Step("abs"))
        return _reduced(site, "max" if order > 0 else "min", magnitudes, dims, keepdim)
    site.refuse(f"its order is {order}; 1, 2, inf and -inf are supported")


@operator("aten.norm.ScalarOpt_dim")
def norm_over(site: CallSite, value: NodeValue, order: float | None, dims: Dims, keepdim: bool) -> NodeValue:
    return norm(site, value, 2 if order is None else order, dims, keepdim, None)


@operator("aten.softmax.int", "aten._softmax.default")
def softmax(site: CallSite, value: NodeValue, dim: int, dtype: torch.dtype | bool | None) -> NodeValue:
    return _along(site, value, Softmax, dim)


@operator("aten.log_softmax.int", "aten._log_softmax.default")
def log_softmax(site: CallSite, value: NodeValue, dim: int, dtype: torch.dtype | bool | None) -> NodeValue:
    return _along(site, value, LogSoftmax, dim)


def _along(site: CallSite, value: NodeValue, core: type[Softmax] | type[LogSoftmax], dim: int) -> NodeValue:
    """A core over one dimension, which may count from the end."""
    if not site.shape:  # a number: as a vector of one
        vector = reshape_to(site, value, (1,))
        return reshape_to(site, site.layer(core(0), vector, shape=(1,)), ())
    return site.layer(core(dim % len(site.shape)), value)
