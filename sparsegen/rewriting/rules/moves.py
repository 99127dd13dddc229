"""Slices, gathers, concatenation and padding by convolutions, and by each other."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import Concat, Conv2d, Gather, Pad, Permute, Slice
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import along, check_parts, convolved, joined, selection, sliced, with_extent
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("slice of steps by strided convolution", "slice")
def slice_by_strided_convolution(site: Site, draft: Draft) -> str:
    """A depthwise convolution of 1x1, which takes every n-th row or column."""
    core = _slice(site)
    if len(site.input_shape) != 4 or core.dim < 2 or core.step < 2:
        raise RefusalError("it takes no rows or columns in steps forward")
    count, channels = site.shape[core.dim], site.input_shape[1]
    value = sliced(draft, site.input, core.dim, core.start, (count - 1) * core.step + 1)
    stride = (core.step, 1) if core.dim == 2 else (1, core.step)
    weight = draft.array(np.ones((channels, 1, 1, 1)))
    return convolved(draft, value, Conv2d(weight, None, stride, groups=channels))


@rule("slice of steps by reshape", "slice")
def slice_by_reshape(site: Site, draft: Draft) -> str:
    """Steps as a dimension of its own, of which a slice takes one element."""
    core, shape = _slice(site), site.input_shape
    if core.step < 2:
        raise RefusalError("it takes no steps forward")
    count, size = site.shape[core.dim], shape[core.dim]
    place = max(0, core.start + count * core.step - size)
    if place > min(core.start, core.step - 1):
        raise RefusalError("its steps do not fit into the dimension")
    value = sliced(draft, site.input, core.dim, core.start - place, count * core.step)
    after = math.prod(shape[core.dim + 1 :])
    rows = reshaped(draft, value, (math.prod(shape[: core.dim]) * count, core.step, after))
    return reshaped(draft, sliced(draft, rows, 1, place, 1), site.shape)


@rule("slice by convolution", "slice")
def slice_by_convolution(site: Site, draft: Draft) -> str:
    """The dimension as channels, of which a convolution takes some."""
    core = _slice(site)
    indices = [core.start + at * core.step for at in range(site.shape[core.dim])]
    matrix = selection(draft, indices, site.input_shape[core.dim])
    return along(draft, site.input, core.dim, matrix)


@rule("gather by convolution", "gather")
def gather_by_convolution(site: Site, draft: Draft) -> str:
    """The dimension as channels, of which a convolution takes some."""
    core = _gather(site)
    matrix = selection(draft, core.indices, site.input_shape[core.dim])
    return along(draft, site.input, core.dim, matrix)


@rule("gather by slices", "gather")
def gather_by_slices(site: Site, draft: Draft) -> str:
    """A slice for every run of neighbours."""
    core, runs = _gather(site), list[list[int]]()
    for index in core.indices:
        if runs and index == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([index, 1])
            check_parts(len(runs), "slices or more")
    return joined(draft, [sliced(draft, site.input, core.dim, *run) for run in runs], core.dim)


@rule("shuffle by transposition", "gather")
def gather_by_transposition(site: Site, draft: Draft) -> str:
    """Two dimensions in place of the one, the other way round."""
    core = _gather(site)
    size = site.input_shape[core.dim]
    step = core.indices[1] if len(core.indices) > 1 else 1
    if step < 2 or size % step or core.indices != tuple(np.arange(size).reshape(-1, step).T.ravel()):
        raise RefusalError("it is no shuffle of equal groups")
    before, after = (
        math.prod(site.input_shape[: core.dim]), math.prod(site.input_shape[core.dim + 1 :])
    )  # fmt: skip
    parts = reshaped(draft, site.input, (before, size // step, step, after))
    made = draft.add(Permute((0, 2, 1, 3)), parts, (before, step, size // step, after))
    return reshaped(draft, made, site.shape)


@rule("concatenation by convolutions", "concat")
def concat_by_convolutions(site: Site, draft: Draft) -> str:
    """Each part as channels among zeros, added."""
    core = site.core
    assert isinstance(core, Concat)
    check_parts(len(site.layer.inputs), "convolutions")
    total, made, start = site.shape[core.dim], "", 0
    for part in site.layer.inputs:
        count = site.shapes[part][core.dim]
        matrix = draft.array(np.zeros((total, count)))
        matrix[start : start + count] = np.eye(count)
        whole = along(draft, part, core.dim, matrix)
        made = draft.step(made, "add", whole) if made else whole
        start += count
    return made


@rule("padding of images by convolution", "pad")
def pad_by_convolution(site: Site, draft: Draft) -> str:
    """A depthwise convolution of 1x1, with padding."""
    core = _pad(site)
    if len(site.shape) != 4 or core.value != 0 or any(map(any, core.amounts[:2])):
        raise RefusalError("it pads not images' rows and columns with zeros")
    weight = draft.array(np.ones((site.shape[1], 1, 1, 1)))
    conv = Conv2d(weight, None, padding=(*core.amounts[2], *core.amounts[3]), groups=site.shape[1])
    return convolved(draft, site.input, conv)


@rule("padding of a dimension by convolution", "pad")
def pad_by_convolution_along(site: Site, draft: Draft) -> str:
    """Each dimension as channels, of which some have zero weights, and the padding's value as their bias."""
    core, made = _pad(site), site.input
    if not math.isfinite(core.value):
        raise RefusalError(f"it pads with {core.value}")
    for dim, (before, after) in enumerate(core.amounts):
        if not (before or after):
            continue
        size = draft.shape(made)[dim]
        rows = range(before, before + size)
        matrix = draft.array(np.zeros((before + size + after, size)))
        matrix[rows, range(size)] = 1
        bias = draft.array(np.full(len(matrix), core.value))
        bias[rows] = 0
        made = along(draft, made, dim, matrix, bias if core.value else None)
    return made


@rule("padding by concatenation of zeros", "pad")
def pad_by_concat(site: Site, draft: Draft) -> str:
    """Slices of the value times 0, plus the padding's value, beside it."""
    core, made = _pad(site), site.input
    if not math.isfinite(core.value):
        raise RefusalError(f"it pads with {core.value}")
    for dim, amounts in enumerate(core.amounts):
        parts = [made]
        for place, amount in enumerate(amounts):
            if amount:
                check_parts(amount, "copies")
                edge = draft.step(sliced(draft, made, dim, 0, 1), "mul", 0.0)
                edge = draft.step(edge, "add", core.value) if core.value else edge
                shape = with_extent(draft.shape(made), dim, amount)
                block = edge if amount == 1 else draft.add(Concat(dim), [edge] * amount, shape)
                parts.insert(len(parts) if place else 0, block)
        made = joined(draft, parts, dim)
    return made


def _slice(site: Site) -> Slice:
    assert isinstance(site.core, Slice)
    return site.core


def _gather(site: Site) -> Gather:
    assert isinstance(site.core, Gather)
    return site.core


def _pad(site: Site) -> Pad:
    assert isinstance(site.core, Pad)
    return site.core
