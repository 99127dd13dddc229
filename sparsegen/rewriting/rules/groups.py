"""Convolutions of groups by those of others; and images, of which a device takes few at once, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import MOST_WEIGHTS, check_parts, conv_of, convolved, joined, sliced, taken
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("groups by dense convolution", "depthwise_conv", "grouped_conv")
def groups_by_zeros(site: Site, draft: Draft) -> str:
    """Zeros for the channels of other groups."""
    core = conv_of(site)
    outputs, inputs, height, width = core.weight.shape
    if core.weight.size * core.groups > MOST_WEIGHTS:
        raise RefusalError(f"it would take {core.weight.size * core.groups:,} weights")
    dense = np.zeros((outputs, core.groups, inputs, height, width), core.weight.dtype)
    share = outputs // core.groups
    for group in range(core.groups):
        rows = slice(group * share, (group + 1) * share)
        dense[rows, group] = core.weight[rows]
    weight = dense.reshape(outputs, core.groups * inputs, height, width)
    return convolved(draft, site.input, replace(core, weight=weight, groups=1))


@rule("groups by a convolution each", "grouped_conv")
def groups_by_slices(site: Site, draft: Draft) -> str:
    """Each group's channels apart."""
    core = conv_of(site)
    check_parts(core.groups, "convolutions")
    outputs, inputs = core.weight.shape[:2]
    share, parts = outputs // core.groups, list[str]()
    for group in range(core.groups):
        rows = slice(group * share, (group + 1) * share)
        bias = None if core.bias is None else core.bias[rows]
        channels = sliced(draft, site.input, 1, group * inputs, inputs)
        parts.append(convolved(draft, channels, replace(core, weight=core.weight[rows], bias=bias, groups=1)))
    return joined(draft, parts, 1)


@rule("groups of one channel by depthwise convolution", "grouped_conv")
def groups_by_depthwise(site: Site, draft: Draft) -> str:
    """Each channel as often as it has outputs."""
    core = conv_of(site)
    outputs, inputs = core.weight.shape[:2]
    if inputs != 1:
        raise RefusalError(f"its groups have {inputs} channels")
    repeated = np.repeat(np.arange(core.groups), outputs // core.groups)
    channels = taken(draft, site.input, 1, list(map(int, repeated)))
    return convolved(draft, channels, replace(core, groups=int(outputs)))


@rule("images as channels of one", "depthwise_conv", within_limits=True)
def depthwise_of_one_image(site: Site, draft: Draft) -> str:
    """The same kernels again for each image."""
    core, (batch, channels, height, width) = conv_of(site), site.input_shape
    _check_several(batch)
    image = reshaped(draft, site.input, (1, batch * channels, height, width))
    weight = np.tile(core.weight, (batch, 1, 1, 1))
    bias = None if core.bias is None else np.tile(core.bias, batch)
    made = convolved(draft, image, replace(core, weight=weight, bias=bias, groups=batch * channels))
    return reshaped(draft, made, site.shape)


@rule(
    "images as channels",
    *("avg_pool", "max_pool", "resize_nearest", "resize_bilinear", "resize_bicubic"),
    *("pixel_shuffle", "space_to_depth"),
    within_limits=True,
)
def images_as_channels(site: Site, draft: Draft) -> str:
    """For what treats all channels alike."""
    batch, channels, *pixels = site.input_shape
    _check_several(batch)
    image = reshaped(draft, site.input, (1, batch * channels, *pixels))
    shape = (1, site.shape[0] * site.shape[1], *site.shape[2:])
    return reshaped(draft, draft.add(site.core, image, shape), site.shape)


@rule("images one by one", "conv", "grouped_conv", "group_norm", "local_response_norm", within_limits=True)
def images_one_by_one(site: Site, draft: Draft) -> str:
    """All images' channels as those of one, of which slices take an image's; joined again as channels."""
    batch, channels, *pixels = site.input_shape
    _check_several(batch)
    check_parts(batch, "images")
    whole = reshaped(draft, site.input, (1, batch * channels, *pixels))
    parts = [
        draft.add(site.core, sliced(draft, whole, 1, image * channels, channels), (1, *site.shape[1:]))
        for image in range(batch)
    ]
    return reshaped(draft, joined(draft, parts, 1), site.shape)


def _check_several(batch: int) -> None:
    if batch == 1:
        raise RefusalError("it has one image")
