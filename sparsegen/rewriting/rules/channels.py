"""Images of more channels than a device takes, half of them at a time; halves are halved again where need be.

A device bounds the channels of images. So channels are cut and joined as the rows of values [N, C, H * W],
which are none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparsegen.graph import BINARY, SELECTIONS, UNARY, Array
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import conv_of, convolved, joined, sliced
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped

_IMAGE = 4  # dimensions


@rule("convolution by halves of its filters", "conv", within_limits=True)
def halves_of_filters(site: Site, draft: Draft) -> str:
    """Some output channels each, joined."""
    core = conv_of(site)
    made = [
        convolved(draft, site.input, replace(core, weight=core.weight[part], bias=_part(core.bias, part)))
        for part in _halves(len(core.weight))
    ]
    return _joined(site, draft, made)


@rule("convolution by halves of its channels", "conv", within_limits=True)
def halves_of_inputs(site: Site, draft: Draft) -> str:
    """The sum of what some input channels each give."""
    core = conv_of(site)
    first, second = _halves(site.input_shape[1])
    cores = (
        replace(core, weight=np.ascontiguousarray(core.weight[:, first])),
        replace(core, weight=np.ascontiguousarray(core.weight[:, second]), bias=None),
    )
    made = [
        convolved(draft, _cut(draft, site.input, part), each)
        for part, each in zip((first, second), cores, strict=True)
    ]
    return draft.step(made[0], "add", made[1])


@rule("convolution by halves of its groups", "depthwise_conv", "grouped_conv", within_limits=True)
def halves_of_groups(site: Site, draft: Draft) -> str:
    """Some groups each, joined."""
    core, made = conv_of(site), list[str]()
    inputs, outputs = (count // core.groups for count in (site.input_shape[1], len(core.weight)))
    for part in _halves(core.groups):
        filters = slice(part.start * outputs, part.stop * outputs)
        image = _cut(draft, site.input, slice(part.start * inputs, part.stop * inputs))
        weight, bias = core.weight[filters], _part(core.bias, filters)
        made.append(
            convolved(draft, image, replace(core, weight=weight, bias=bias, groups=part.stop - part.start))
        )
    return _joined(site, draft, made)


@rule(
    "channels by halves",
    *("avg_pool", "max_pool", "resize_nearest", "resize_bilinear", "resize_bicubic"),
    within_limits=True,
)
def halves_of_images(site: Site, draft: Draft) -> str:
    """For what treats all channels alike."""
    made = list[str]()
    for part in _halves(site.shape[1]):
        shape = (site.shape[0], part.stop - part.start, *site.shape[2:])
        made.append(draft.add(site.core, _cut(draft, site.input, part), shape))
    return _joined(site, draft, made)


@rule("pointwise by halves of channels", *UNARY, *BINARY, *SELECTIONS, within_limits=True)
def pointwise_halves(site: Site, draft: Draft) -> str:
    """Some channels each of the value and of its operand, joined."""
    step = site.step
    assert step is not None
    if len(site.shape) != _IMAGE or site.input_shape != site.shape:
        raise RefusalError("its value is no image, or is broadcast")
    made = list[str]()
    for part in _halves(site.shape[1]):
        operand = _operand(site, draft, part)
        value = _cut(draft, site.input, part)
        made.append(draft.step(value, step.op, operand, reverse=step.reverse, parameters=step.parameters))
    return _joined(site, draft, made)


def _operand(site: Site, draft: Draft, part: slice) -> str | float | None:
    """What of a step's operand meets some channels: all of it where it is the same for each."""
    operand = site.operand
    if not isinstance(operand, str) or len(site.shapes[operand]) < 3 or site.shapes[operand][-3] == 1:
        return operand
    if operand in site.constants:
        return draft.constant(np.ascontiguousarray(site.constants[operand][..., part, :, :]))
    image = reshaped(draft, operand, (*(1,) * (_IMAGE - len(site.shapes[operand])), *site.shapes[operand]))
    return _cut(draft, image, part)


def _halves(count: int) -> tuple[slice, slice]:
    """The first half of so many, and the others."""
    if count == 1:
        raise RefusalError("it has nothing that could be halved")
    middle = -(-count // 2)
    return slice(0, middle), slice(middle, count)


def _part(bias: Array | None, part: slice) -> Array | None:
    return None if bias is None else bias[part]


def _cut(draft: Draft, image: str, part: slice) -> str:
    """Some channels of an image."""
    batch, channels, *pixels = draft.shape(image)
    rows = reshaped(draft, image, (batch, channels, math.prod(pixels)))
    count = part.stop - part.start
    return reshaped(draft, sliced(draft, rows, 1, part.start, count), (batch, count, *pixels))


def _joined(site: Site, draft: Draft, images: Sequence[str]) -> str:
    """The channels of images, one after the other."""
    pixels = math.prod(site.shape[2:])
    rows = [reshaped(draft, image, (*draft.shape(image)[:2], pixels)) for image in images]
    return reshaped(draft, joined(draft, rows, 1), site.shape)
