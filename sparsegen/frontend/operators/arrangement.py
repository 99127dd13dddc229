"""Operators that move elements and compute nothing: reshape, permute, slice, concatenate."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import prod

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Concat, Permute, PixelShuffle, PixelUnshuffle, Reshape, Shape, Slice


@operator(
    "aten._to_copy.default",
    "aten.alias.default",
    "aten.clone.default",
    "aten.contiguous.default",
    "aten.detach.default",
    "aten.lift_fresh_copy.default",
    "aten.type_as.default",
)
def pass_on(site: CallSite, value: NodeValue, *options: object) -> NodeValue:
    """The input: values are never written to, and one that is not float32 was refused before."""
    return value


@operator(
    "aten._unsafe_view.default",
    "aten.flatten.using_ints",
    "aten.reshape.default",
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.unflatten.int",
    "aten.unsqueeze.default",
    "aten.view.default",
)
def reshape(site: CallSite, value: NodeValue, *options: object) -> NodeValue:
    return reshape_to(site, value, site.shape)


def reshape_to(site: CallSite, value: NodeValue, shape: Shape) -> NodeValue:
    """`value` with another shape, its elements in the same order: itself where it has that shape."""
    if not isinstance(value, str):
        return value.reshape(shape)
    return value if site.shape_of(value) == shape else site.layer(Reshape(), value, shape=shape)


def with_batch(site: CallSite, value: NodeValue, rank: int) -> tuple[CallSite, NodeValue]:
    """The call and its input with a batch, of one where torch has none; refuses an input of another rank."""
    source = site.shape_of(value)
    if len(source) == rank - 1:
        return replace(site, shape=(1, *site.shape)), reshape_to(site, value, (1, *source))
    site.require_rank(value, rank)
    return site, value


@operator("aten.permute.default")
def permute(site: CallSite, value: NodeValue, dims: list[int]) -> NodeValue:
    return _permute(site, value, tuple(dim % len(dims) for dim in dims))


@operator("aten.transpose.int")
def transpose(site: CallSite, value: NodeValue, first: int, second: int) -> NodeValue:
    dims = list(range(len(site.shape)))
    if dims:  # a number has none, and torch calls them 0 and -1 all the same
        dims[first], dims[second] = dims[second], dims[first]
    return _permute(site, value, tuple(dims))


@operator("aten.t.default")
def transpose_matrix(site: CallSite, value: NodeValue) -> NodeValue:
    return _permute(site, value, tuple(reversed(range(len(site.shape)))))


def _permute(site: CallSite, value: NodeValue, dims: tuple[int, ...]) -> NodeValue:
    source = site.shape_of(value)
    shape = tuple(source[dim] for dim in dims)
    moved = [dim for dim in dims if source[dim] != 1]
    if moved == sorted(moved):  # dimensions of one element move freely: the order in memory is the same
        return reshape_to(site, value, shape)
    return site.layer(Permute(dims), value, shape=shape)


@operator("aten.slice.Tensor")
def slice_dimension(
    site: CallSite, value: NodeValue, dim: int, start: int | None, stop: int | None, step: int
) -> NodeValue:
    dim %= len(site.shape)
    first, _, _ = slice(start, stop, step).indices(site.shape_of(value)[dim])
    return slice_of(site, value, dim, first, site.shape[dim], step)


@operator("aten.select.int")
def select(site: CallSite, value: NodeValue, dim: int, index: int) -> NodeValue:
    source = site.shape_of(value)
    dim %= len(source)
    return reshape_to(site, slice_of(site, value, dim, index % source[dim], 1), site.shape)


@operator("aten.narrow.default")
def narrow(site: CallSite, value: NodeValue, dim: int, start: int, length: int) -> NodeValue:
    dim %= len(site.shape)
    return slice_of(site, value, dim, start % site.shape_of(value)[dim], length)


@operator("aten.split.Tensor", "aten.unsafe_split.Tensor")
def split(site: CallSite, value: NodeValue, size: int, dim: int) -> tuple[NodeValue, ...]:
    extent = site.shape_of(value)[dim]
    sizes = [min(size, extent - start) for start in range(0, extent, size)]
    return split_with_sizes(site, value, sizes, dim)


@operator("aten.split_with_sizes.default", "aten.unsafe_split_with_sizes.default")
def split_with_sizes(site: CallSite, value: NodeValue, sizes: list[int], dim: int) -> tuple[NodeValue, ...]:
    dim %= len(site.shape)
    starts = accumulate(sizes[:-1], initial=0)
    return tuple(slice_of(site, value, dim, start, size) for start, size in zip(starts, sizes, strict=True))


@operator("aten.chunk.default")
def chunk(site: CallSite, value: NodeValue, chunks: int, dim: int) -> tuple[NodeValue, ...]:
    return split(site, value, -(-site.shape_of(value)[dim] // chunks), dim)


@operator("aten.unbind.int")
def unbind(site: CallSite, value: NodeValue, dim: int) -> tuple[NodeValue, ...]:
    return tuple(select(site, value, dim, index) for index in range(site.shape_of(value)[dim]))


def slice_of(site: CallSite, value: NodeValue, dim: int, start: int, extent: int, step: int = 1) -> NodeValue:
    """`extent` elements along a dimension from `start` on, `step` apart; itself where that is all."""
    source = site.shape_of(value)
    if source[dim] == extent and step > 0:
        return value
    return site.layer(Slice(dim, start, step), value, shape=(*source[:dim], extent, *source[dim + 1 :]))


@operator("aten.cat.default")
def concatenate(site: CallSite, values: list[NodeValue], dim: int) -> NodeValue:
    # torch lets an empty tensor of one dimension stand among tensors of any rank.
    parts = [value for value in values if prod(site.shape_of(value))]
    return parts[0] if len(parts) == 1 else site.layer(Concat(dim % len(site.shape)), *parts)


@operator("aten.stack.default")
def stack(site: CallSite, values: list[NodeValue], dim: int) -> NodeValue:
    dim %= len(site.shape)
    part = (*site.shape[:dim], 1, *site.shape[dim + 1 :])
    return concatenate(site, [reshape_to(site, value, part) for value in values], dim)


@operator("aten.channel_shuffle.default")
def channel_shuffle(site: CallSite, value: NodeValue, groups: int) -> NodeValue:
    batch, channels, *image = site.shape
    grouped = reshape_to(site, value, (batch, groups, channels // groups, *image))
    dims = (0, 2, 1, *range(3, 3 + len(image)))
    return reshape_to(site, _permute(site, grouped, dims), site.shape)


@operator("aten.pixel_shuffle.default")
def pixel_shuffle(site: CallSite, value: NodeValue, factor: int) -> NodeValue:
    return _shuffle(site, value, PixelShuffle((factor, factor)))


@operator("aten.pixel_unshuffle.default")
def pixel_unshuffle(site: CallSite, value: NodeValue, factor: int) -> NodeValue:
    return _shuffle(site, value, PixelUnshuffle((factor, factor)))


def _shuffle(site: CallSite, value: NodeValue, core: PixelShuffle | PixelUnshuffle) -> NodeValue:
    """A shuffle of images, whatever dimensions are before their channels."""
    source, shape = ((prod(s[:-3]), *s[-3:]) for s in (site.shape_of(value), site.shape))
    if core.factors == (1, 1):
        return value
    return reshape_to(site, site.layer(core, reshape_to(site, value, source), shape=shape), site.shape)
