"""Convolutions by others: of another stride, padding, dilation or kernel; and by linear layers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sparsegen.graph import Array, Conv2d, Linear, Pad, Permute, PixelShuffle, PixelUnshuffle
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import MOST_WEIGHTS, Span, conv_of, convolved, sliced, span
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped

_ALL = ("conv", "depthwise_conv", "grouped_conv")
_SMALL = 3  # a kernel's side that every device with convolutions takes


@rule("linear by 1x1 convolution", "linear")
def linear_by_convolution(site: Site, draft: Draft) -> str:
    """Rows of the input as images of one pixel."""
    core = site.core
    assert isinstance(core, Linear)
    *_, features = site.input_shape
    image = reshaped(draft, site.input, (math.prod(site.input_shape) // features, features, 1, 1))
    made = convolved(draft, image, Conv2d(core.weight[:, :, None, None], core.bias))
    return reshaped(draft, made, site.shape)


@rule("convolution of whole images by linear", "conv")
def convolution_by_linear(site: Site, draft: Draft) -> str:
    """A kernel as large as the image makes one pixel, of all elements."""
    core = conv_of(site)
    if core.weight.shape[2:] != site.input_shape[2:] or any(core.padding) or core.groups != 1:
        raise RefusalError("its kernel is not as large as its image")
    rows = reshaped(draft, site.input, (site.input_shape[0], math.prod(site.input_shape[1:])))
    made = draft.add(Linear(core.weight.reshape(len(core.weight), -1), core.bias), rows, site.shape[:2])
    return reshaped(draft, made, site.shape)


@rule("1x1 convolution by linear", "conv")
def pointwise_by_linear(site: Site, draft: Draft) -> str:
    """Channels last, so that each pixel is a row."""
    core = conv_of(site)
    if core.weight.shape[2:] != (1, 1) or any(core.padding) or core.stride != (1, 1) or core.groups != 1:
        raise RefusalError("it is no 1x1 convolution without stride and padding")
    batch, channels, height, width = site.input_shape
    rows = draft.add(Permute((0, 2, 3, 1)), site.input, (batch, height, width, channels))
    linear = Linear(core.weight[:, :, 0, 0], core.bias)
    made = draft.add(linear, rows, (batch, height, width, len(core.weight)))
    return draft.add(Permute((0, 3, 1, 2)), made, site.shape)


@rule("strided convolution by slices", *_ALL, within_limits=True)
def strided_by_slices(site: Site, draft: Draft) -> str:
    """All pixels, of which a slice takes every n-th."""
    core = conv_of(site)
    if core.stride == (1, 1):
        raise RefusalError("it has no stride")
    made = convolved(draft, site.input, replace(core, stride=(1, 1)))
    for dim, stride in zip((2, 3), core.stride, strict=True):
        made = sliced(draft, made, dim, 0, site.shape[dim], stride)
    return made


@rule("strided convolution by space to depth", *_ALL, within_limits=True)
def strided_by_space_to_depth(site: Site, draft: Draft) -> str:
    """The pixels of a step become channels; the kernel is filled up with zeros to whole steps."""
    core = conv_of(site)
    if core.stride == (1, 1):
        raise RefusalError("it has no stride")
    if core.dilation != (1, 1):
        raise RefusalError("it is dilated")
    (down, across), (height, width) = core.stride, core.weight.shape[2:]
    rows, columns = -(-height // down), -(-width // across)
    length = ((site.shape[2] - 1 + rows) * down, (site.shape[3] - 1 + columns) * across)
    image = _filled(draft, site.input, (core.padding[0], core.padding[2]), length)
    batch, channels = site.input_shape[:2]
    deep = (batch, channels * down * across, length[0] // down, length[1] // across)
    parts = draft.add(PixelUnshuffle((down, across)), image, deep)
    weight = _zeros(core.weight, (rows * down, columns * across))
    weight[:, :, :height, :width] = core.weight
    outputs, inputs = weight.shape[:2]
    weight = weight.reshape(outputs, inputs, rows, down, columns, across).transpose(0, 1, 3, 5, 2, 4)
    weight = np.ascontiguousarray(weight).reshape(outputs, -1, rows, columns)
    return convolved(draft, parts, Conv2d(weight, core.bias, groups=core.groups))


@rule("padding of a convolution by pad", *_ALL, within_limits=True)
def padding_by_pad(site: Site, draft: Draft) -> str:
    """Zeros around the image, as an operator of its own."""
    core = conv_of(site)
    if not any(core.padding):
        raise RefusalError("it has no padding")
    top, bottom, left, right = core.padding
    batch, channels, height, width = site.input_shape
    amounts = ((0, 0), (0, 0), (top, bottom), (left, right))
    shape = (batch, channels, height + top + bottom, width + left + right)
    image = draft.add(Pad(amounts, 0.0), site.input, shape)
    return convolved(draft, image, replace(core, padding=(0, 0, 0, 0)))


@rule("uneven padding by a larger kernel", *_ALL, within_limits=True)
def padding_by_kernel(site: Site, draft: Draft) -> str:
    """As much padding before as after: what is too much meets zeros of the kernel."""
    core = conv_of(site)
    weight, sides = core.weight, list[int]()
    for axis, (before, after) in enumerate((core.padding[:2], core.padding[2:])):
        more, dilation = abs(before - after), core.dilation[axis]
        if more % dilation:
            raise RefusalError(f"its padding differs by {more}, and its dilation is {dilation}")
        zeros = (more // dilation, 0) if before < after else (0, more // dilation)
        weight = np.pad(weight, [zeros if dim == axis + 2 else (0, 0) for dim in range(4)])
        sides += [max(before, after)] * 2
    if weight.shape == core.weight.shape:
        raise RefusalError("its padding is as much before as after")
    return convolved(draft, site.input, replace(core, weight=weight, padding=_four(sides)))


@rule("dilated convolution by a larger kernel", *_ALL, within_limits=True)
def dilated_by_kernel(site: Site, draft: Draft) -> str:
    """Zeros between the kernel's weights."""
    core = conv_of(site)
    down, across = _dilation(core)
    height, width = core.weight.shape[2:]
    weight = _zeros(core.weight, (down * (height - 1) + 1, across * (width - 1) + 1))
    weight[:, :, ::down, ::across] = core.weight
    return convolved(draft, site.input, replace(core, weight=weight, dilation=(1, 1)))


@rule("dilated convolution by space to depth", *_ALL, within_limits=True)
def dilated_by_space_to_depth(site: Site, draft: Draft) -> str:
    """Pixels that a kernel reads together become images of their own, as channels; and back."""
    core = conv_of(site)
    down, across = _dilation(core)
    if core.stride != (1, 1):
        raise RefusalError("it has a stride")
    count, (height, width) = down * across, core.weight.shape[2:]
    rows, columns = -(-site.shape[2] // down), -(-site.shape[3] // across)
    length = ((rows + height - 1) * down, (columns + width - 1) * across)
    image = _filled(draft, site.input, (core.padding[0], core.padding[2]), length)
    batch, channels = site.input_shape[:2]
    deep = (batch, channels * count, length[0] // down, length[1] // across)
    parts = draft.add(PixelUnshuffle((down, across)), image, deep)
    weight, groups = _of_each_phase(core, count)
    bias = None if core.bias is None else np.repeat(core.bias, count)
    made = convolved(draft, parts, Conv2d(weight, bias, groups=groups))
    whole = (batch, len(core.weight), rows * down, columns * across)
    made = draft.add(PixelShuffle((down, across)), made, whole)
    made = sliced(draft, made, 2, 0, site.shape[2])
    return sliced(draft, made, 3, 0, site.shape[3])


@rule("large kernel by two smaller ones", *_ALL, within_limits=True)
def kernel_in_two(site: Site, draft: Draft) -> str:
    """Halves of the longer side, each of its part of the image, added."""
    core = conv_of(site)
    height, width = map(int, core.weight.shape[2:])
    if max(height, width) <= _SMALL:
        raise RefusalError(f"its kernel is {height} by {width}")
    axis = 0 if height >= width else 1
    middle = -(-max(height, width) // 2)
    first, second = np.split(core.weight, [middle], axis + 2)
    parts = [
        _part(site, draft, axis, first, 0, core.bias),
        _part(site, draft, axis, second, middle, None),
    ]
    made = [part for part in parts if part is not None]
    if parts[0] is None:
        raise RefusalError("half of its kernel meets nothing but padding")
    return made[0] if len(made) == 1 else draft.step(made[0], "add", made[1])


def _part(site: Site, draft: Draft, axis: int, weight: Array, offset: int, bias: Array | None) -> str | None:
    """The convolution by a part of the kernel that begins at an offset; None where it sees only padding."""
    core = conv_of(site)
    spans = list[Span]()
    for each in range(2):
        dilation, stride = core.dilation[each], core.stride[each]
        before = core.padding[2 * each] - (offset * dilation if each == axis else 0)
        extent = int(weight.shape[each + 2])
        length = (site.shape[each + 2] - 1) * stride + dilation * (extent - 1) + 1
        found = span(site.input_shape[each + 2], before, length)
        if found is None:
            return None
        spans.append(found)
    rows, columns = spans
    image = sliced(draft, site.input, 2, rows.start, rows.count)
    image = sliced(draft, image, 3, columns.start, columns.count)
    padding = (rows.before, rows.after, columns.before, columns.after)
    return convolved(draft, image, replace(core, weight=weight, bias=bias, padding=padding))


def _filled(draft: Draft, value: str, before: tuple[int, int], length: tuple[int, int]) -> str:
    """So many rows and columns that begin before the image: cut off, or filled up with zeros."""
    amounts = [(0, 0), (0, 0)]
    for dim, ahead, extent in zip((2, 3), before, length, strict=True):
        found = span(draft.shape(value)[dim], ahead, extent)
        if found is None:
            raise RefusalError("it sees nothing but padding")
        value = sliced(draft, value, dim, found.start, found.count)
        amounts.append((found.before, found.after))
    if not any(map(any, amounts)):
        return value
    return draft.add(Pad(tuple(amounts), 0.0), value, (*draft.shape(value)[:2], *length))


def _of_each_phase(core: Conv2d, count: int) -> tuple[Array, int]:
    """The weight by which each of `count` phases of a channel is convolved apart, and its groups."""
    outputs, inputs, height, width = core.weight.shape
    if inputs == 1:
        weight = np.repeat(core.weight, count, 0)
        if core.groups == outputs:
            return weight, outputs * count
    if outputs * inputs * count**2 * height * width > MOST_WEIGHTS:
        raise RefusalError(f"its {count} phases would take too many weights")
    weight = np.zeros((outputs, count, inputs, count, height, width), core.weight.dtype)
    for phase in range(count):
        weight[:, phase, :, phase] = core.weight
    return weight.reshape(outputs * count, inputs * count, height, width), core.groups


def _dilation(core: Conv2d) -> tuple[int, int]:
    if core.dilation == (1, 1):
        raise RefusalError("it is not dilated")
    return core.dilation


def _zeros(weight: Array, kernel: tuple[int, int]) -> Array:
    return np.zeros((*weight.shape[:2], *kernel), weight.dtype)


def _four(sides: list[int]) -> tuple[int, int, int, int]:
    top, bottom, left, right = sides
    return top, bottom, left, right
