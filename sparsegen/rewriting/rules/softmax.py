"""Softmax through exp, sums and reciprocals."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import LogSoftmax, Reduce, Shape, Softmax
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import pointwise_conv, reshaped

_LARGEST_EXPONENT = 40.0  # float32 overflows at 88; a margin for values that calibration did not see


@rule("softmax by exp, less the maximum", "softmax")
def softmax_by_exp(site: Site, draft: Draft) -> str:
    """exp(x - max x) / sum of that."""
    return _shares(site, draft, _less_maximum(site, draft))


@rule("softmax by exp", "softmax")
def softmax_by_plain_exp(site: Site, draft: Draft) -> str:
    """exp(x) / sum of that, for values that cannot overflow it."""
    _check_small(site)
    return _shares(site, draft, site.input)


@rule("log softmax by exp and log, less the maximum", "log_softmax")
def log_softmax_by_exp(site: Site, draft: Draft) -> str:
    """X - max x - log of the sum of exp(x - max x)."""
    return _logarithm(site, draft, _less_maximum(site, draft))


@rule("log softmax by exp and log", "log_softmax")
def log_softmax_by_plain_exp(site: Site, draft: Draft) -> str:
    """X - log of the sum of exp(x), for values that cannot overflow it."""
    _check_small(site)
    return _logarithm(site, draft, site.input)


@rule("log softmax by softmax and log", "log_softmax")
def log_softmax_by_softmax(site: Site, draft: Draft) -> str:
    """log(softmax(x)), where no share is too small for float32."""
    _check_small(site)
    return draft.step(draft.add(Softmax(_dim(site)), site.input, site.shape), "log")


@rule("sum by convolution of ones", "reduce_sum")
def sum_by_ones(site: Site, draft: Draft) -> str:
    """The dimensions as channels, times one kernel of ones."""
    assert isinstance(site.core, Reduce)
    shape, dims = site.input_shape, sorted(site.core.dims)
    first, end = dims[0], dims[-1] + 1
    if any(shape[dim] > 1 for dim in range(first, end) if dim not in dims):
        raise RefusalError(f"it is over the dimensions {', '.join(map(str, dims))}, which are not neighbours")
    sizes = (math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:]), 1)
    image = reshaped(draft, site.input, sizes)
    return reshaped(draft, pointwise_conv(draft, image, np.ones((1, sizes[1]), np.float32), None), site.shape)


def _dim(site: Site) -> int:
    assert isinstance(site.core, Softmax | LogSoftmax)
    return site.core.dim


def _reduced(site: Site) -> Shape:
    """The shape with one element along the dimension."""
    dim = _dim(site)
    return (*site.shape[:dim], 1, *site.shape[dim + 1 :])


def _less_maximum(site: Site, draft: Draft) -> str:
    largest = draft.add(Reduce("max", (_dim(site),), keepdim=True), site.input, _reduced(site))
    less = draft.step(site.input, "sub", largest)
    if site.interval is not None:
        draft.lies_in(less, site.interval[0] - site.interval[1], 0.0)
    return less


def _shares(site: Site, draft: Draft, value: str) -> str:
    if isinstance(site.core, Softmax) and site.core.zero_if_masked:
        raise RefusalError("it gives 0 where all is masked, which a quotient does not")
    powers = draft.step(value, "exp")
    return draft.lies_in(draft.step(powers, "div", _sum(site, draft, powers, value)), 0.0, 1.0)


def _logarithm(site: Site, draft: Draft, value: str) -> str:
    sums = _sum(site, draft, draft.step(value, "exp"), value)
    return draft.step(value, "sub", draft.step(sums, "log"))


def _sum(site: Site, draft: Draft, powers: str, value: str) -> str:
    dim = _dim(site)
    found = draft.add(Reduce("sum", (dim,), keepdim=True), powers, _reduced(site))
    if value != site.input:  # the maximum's power is 1
        draft.lies_in(found, 1.0, float(site.shape[dim]))
    return found


def _check_small(site: Site) -> None:
    if site.interval is None:
        raise RefusalError("exp may overflow: no calibration tells what its values are")
    largest = max(map(abs, site.interval))
    if largest > _LARGEST_EXPONENT:
        raise RefusalError(f"exp may overflow: its values reach {largest:g}")
