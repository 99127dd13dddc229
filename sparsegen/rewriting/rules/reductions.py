"""Means, sums and extremes along dimensions, by pooling and convolutions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sparsegen.graph import Mean, Pool2d, Reduce
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import along, pooled, reduced_shape
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("mean over images by average pooling", "mean")
def mean_by_pooling(site: Site, draft: Draft) -> str:
    """One window, the image."""
    core = _reduction(site)
    if len(site.input_shape) != 4 or tuple(sorted(core.dims)) != (2, 3):
        raise RefusalError("it is not over images' height and width")
    height, width = site.input_shape[2:]
    made = pooled(draft, site.input, Pool2d("avg", (height, width), (height, width)))
    return reshaped(draft, made, site.shape)


@rule("mean by convolution", "mean")
def mean_by_convolution(site: Site, draft: Draft) -> str:
    """The dimensions as channels, all of the same weight."""
    return _by_convolution(site, draft, 1 / _count(site))


@rule("sum by convolution", "reduce_sum")
def sum_by_convolution(site: Site, draft: Draft) -> str:
    """The dimensions as channels, all of weight 1."""
    return _by_convolution(site, draft, 1.0)


@rule("sum by mean", "reduce_sum")
def sum_by_mean(site: Site, draft: Draft) -> str:
    """So many times the mean."""
    core = _reduction(site)
    made = draft.add(Mean(core.dims, core.keepdim), site.input, site.shape)
    return draft.step(made, "mul", float(_count(site)))


@rule("mean by sum", "mean")
def mean_by_sum(site: Site, draft: Draft) -> str:
    """The sum over the number of elements."""
    core = _reduction(site)
    made = draft.add(Reduce("sum", core.dims, core.keepdim), site.input, site.shape)
    return draft.step(made, "mul", 1 / _count(site))


@rule("greatest element by max pooling", "reduce_max")
def max_by_pooling(site: Site, draft: Draft) -> str:
    """The dimensions as columns of an image, and one window over them."""
    first, end = _range(site)
    shape = site.input_shape
    before, after = math.prod(shape[:first]), math.prod(shape[end:])
    image = reshaped(draft, site.input, (1, before, _count(site), after))
    made = pooled(draft, image, Pool2d("max", (_count(site), 1), (_count(site), 1)))
    return reshaped(draft, made, site.shape)


@rule("least element by the greatest", "reduce_min")
def min_by_max(site: Site, draft: Draft) -> str:
    """-max(-x)."""
    core, negative = _reduction(site), draft.step(site.input, "neg")
    return draft.step(draft.add(Reduce("max", core.dims, core.keepdim), negative, site.shape), "neg")


@rule("sum of squares by sum", "reduce_squares")
def squares_by_sum(site: Site, draft: Draft) -> str:
    """Squares first."""
    core, squares = _reduction(site), draft.step(site.input, "square")
    return draft.add(Reduce("sum", core.dims, core.keepdim), squares, site.shape)


@rule("sum of magnitudes by sum", "reduce_magnitudes")
def magnitudes_by_sum(site: Site, draft: Draft) -> str:
    """Magnitudes first."""
    core, magnitudes = _reduction(site), draft.step(site.input, "abs")
    return draft.add(Reduce("sum", core.dims, core.keepdim), magnitudes, site.shape)


@rule("sum of deviations by sum of squares", "reduce_deviations")
def deviations_by_squares(site: Site, draft: Draft) -> str:
    """What is left without the mean, squared."""
    core = _reduction(site)
    mean = draft.add(Mean(core.dims, True), site.input, reduced_shape(site.input_shape, core.dims))
    squares = draft.step(draft.step(site.input, "sub", mean), "square")
    return draft.add(Reduce("sum", core.dims, core.keepdim), squares, site.shape)


@rule("reduction one dimension after the other", "mean", "reduce_sum", "reduce_max", "reduce_min")
def reduction_in_steps(site: Site, draft: Draft) -> str:
    """Each neighbourhood of dimensions apart."""
    core, made = _reduction(site), site.input
    runs = _runs(tuple(sorted(core.dims)))
    if len(runs) == 1:
        raise RefusalError("its dimensions are neighbours")
    for run in runs:
        shape = reduced_shape(draft.shape(made), run)
        made = draft.add(replace(core, dims=run, keepdim=True), made, shape)
    return reshaped(draft, made, site.shape)


def _by_convolution(site: Site, draft: Draft, weight: float) -> str:
    first, end = _range(site)
    shape, count = site.input_shape, _count(site)
    rows = reshaped(draft, site.input, (*shape[:first], count, *shape[end:]))
    return reshaped(draft, along(draft, rows, first, draft.array(np.full((1, count), weight))), site.shape)


def _range(site: Site) -> tuple[int, int]:
    """The first dimension and the one after the last, of dimensions with none above 1 between them."""
    dims = sorted(_reduction(site).dims)
    first, end = dims[0], dims[-1] + 1
    if any(site.input_shape[dim] > 1 for dim in range(first, end) if dim not in dims):
        raise RefusalError(f"its dimensions are not neighbours: {', '.join(map(str, dims))}")
    return first, end


def _runs(dims: tuple[int, ...]) -> list[tuple[int, ...]]:
    runs = list[tuple[int, ...]]()
    for dim in dims:
        if runs and dim == runs[-1][-1] + 1:
            runs[-1] = (*runs[-1], dim)
        else:
            runs.append((dim,))
    return runs


def _count(site: Site) -> int:
    return math.prod(site.input_shape[dim] for dim in _reduction(site).dims)


def _reduction(site: Site) -> Mean | Reduce:
    assert isinstance(site.core, Mean | Reduce)
    return site.core
