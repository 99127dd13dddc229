"""Operators that choose, repeat and overwrite elements at places that are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.activations import where
from sparsegen.frontend.operators.arrangement import concatenate, reshape_to, slice_of
from sparsegen.frontend.operators.pointwise import broadcast
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Gather


def gathered(site: CallSite, value: NodeValue, dim: int, indices: Sequence[int]) -> NodeValue:
    """The elements at `indices` along a dimension, none negative: a slice where they are evenly apart."""
    source, extent = site.shape_of(value), len(indices)
    steps = {after - before for before, after in pairwise(indices)}
    step = steps.pop() if len(steps) == 1 else 1 if not steps and extent == 1 else 0
    if step:
        return slice_of(site, value, dim, indices[0], extent, step)
    return site.layer(Gather(dim, tuple(indices)), value, shape=(*source[:dim], extent, *source[dim + 1 :]))


@operator("aten.index_select.default")
def index_select(site: CallSite, value: NodeValue, dim: int, index: NodeValue) -> NodeValue:
    dim %= len(site.shape)
    return gathered(site, value, dim, _places(site, index, 0, site.shape_of(value)[dim]))


@operator("aten.index.Tensor")
def index(site: CallSite, value: NodeValue, indices: list[NodeValue | None]) -> NodeValue:
    """Of one known tensor of indices, whose dimensions take the place of the one that they choose from."""
    chosen = [(dim, each) for dim, each in enumerate(indices) if each is not None]
    if len(chosen) != 1:
        site.refuse(f"it has {len(chosen)} tensors of indices; one is supported")
    ((dim, given),) = chosen
    extent = site.shape_of(value)[dim]
    places = [place % extent for place in _places(site, given, -extent, extent)]
    return reshape_to(site, gathered(site, value, dim, places), site.shape)


@operator("aten.embedding.default")
def embedding(site: CallSite, table: NodeValue, index: NodeValue, *options: object) -> NodeValue:
    places = _places(site, index, 0, site.shape_of(table)[0])
    return reshape_to(site, gathered(site, table, 0, places), site.shape)


def _places(site: CallSite, given: NodeValue, first: int, end: int) -> list[int]:
    """Known indices, of which the operator takes those from `first` to before `end`."""
    places = [int(place) for place in site.known(given, "index").flatten()]
    if outside := [place for place in places if not first <= place < end]:
        site.refuse(f"its index {outside[0]} is none of {end} elements")
    return places


@operator("aten.flip.default")
def flip(site: CallSite, value: NodeValue, dims: list[int]) -> NodeValue:
    for dim in (each % len(site.shape) for each in dims):
        value = gathered(site, value, dim, range(site.shape[dim])[::-1])
    return value


@operator("aten.roll.default")
def roll(site: CallSite, value: NodeValue, shifts: list[int], dims: list[int]) -> NodeValue:
    if not dims:
        count = prod(site.shape)
        line = reshape_to(site, value, (count,))
        rolled = gathered(site, line, 0, [(i - shifts[0]) % count for i in range(count)])
        return reshape_to(site, rolled, site.shape)
    for shift, dim in zip(shifts, (each % len(site.shape) for each in dims), strict=True):
        extent = site.shape[dim]
        value = gathered(site, value, dim, [(i - shift) % extent for i in range(extent)])
    return value


@operator("aten.repeat.default", "aten.tile.default")
def repeat(site: CallSite, value: NodeValue, counts: list[int]) -> NodeValue:
    source = site.shape_of(value)
    counts = [*(1,) * (len(source) - len(counts)), *counts]
    value = reshape_to(site, value, (*(1,) * (len(counts) - len(source)), *source))
    for dim, count in enumerate(counts):
        if count > 1:
            value = gathered(site, value, dim, [*range(site.shape_of(value)[dim])] * count)
    return value


@operator("aten.repeat_interleave.self_int")
def repeat_each(site: CallSite, value: NodeValue, count: int, dim: int | None, *options: object) -> NodeValue:
    if dim is None:
        value, dim = reshape_to(site, value, (site.shape[0] // count,)), 0
    dim %= len(site.shape)
    return gathered(site, value, dim, [i // count for i in range(site.shape[dim])])


@operator("aten.copy.default")
def copy(site: CallSite, target: NodeValue, source: NodeValue, *options: object) -> NodeValue:
    return broadcast(site, source, site.shape)


@operator("aten.fill.Scalar", "aten.fill.Tensor")
def fill(site: CallSite, target: NodeValue, value: NodeValue | float) -> NodeValue:
    if isinstance(value, str):
        return broadcast(site, value, site.shape)
    return torch.as_tensor(value, dtype=torch.float32, device="cpu").expand(site.shape).contiguous()


@operator("aten.slice_scatter.default")
def slice_scatter(
    site: CallSite,
    value: NodeValue,
    source: NodeValue,
    dim: int,
    start: int | None,
    stop: int | None,
    step: int,
) -> NodeValue:
    """The value, its elements along a slice overwritten: parts joined, or a selection where it has steps."""
    extent = site.shape[dim]
    places = range(*slice(start, stop, step).indices(extent))
    dim %= len(site.shape)
    if not places:
        return value
    if step == 1:
        before, after = places[0], extent - places[-1] - 1
        parts = [
            *([slice_of(site, value, dim, 0, before)] if before else []),
            source,
            *([slice_of(site, value, dim, extent - after, after)] if after else []),
        ]
        return concatenate(site, parts, dim)
    mask = torch.zeros(extent, dtype=torch.bool, device="cpu")
    mask[list(places)] = True
    nearest = [min(max(i - places[0], 0) // step, len(places) - 1) for i in range(extent)]
    spread = (
        gathered(site, source, dim, nearest)
        if isinstance(source, str)
        else source.index_select(dim, torch.tensor(nearest))
    )
    return where(site, mask.view(-1, *(1,) * (len(site.shape) - dim - 1)), spread, value)


@operator("aten.select_scatter.default")
def select_scatter(site: CallSite, value: NodeValue, source: NodeValue, dim: int, index: int) -> NodeValue:
    dim %= len(site.shape)
    index %= site.shape[dim]
    row = reshape_to(site, source, (*site.shape[:dim], 1, *site.shape[dim + 1 :]))
    return slice_scatter(site, value, row, dim, index, index + 1, 1)
