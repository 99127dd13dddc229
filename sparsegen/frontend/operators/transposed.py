"""Transposed convolutions as ordinary ones, so that they have their kernels, which skip zeros.

A transposed convolution of stride s gives s * s neighbouring pixels of its result, its phases, for each pixel
of its input. Phase r of an axis sums the filter's taps k with k * dilation = m * s + r, each of the input's
pixel m before: a convolution of stride 1. All phases together are one convolution with s * s as many
channels, whose filters are zero where a phase has fewer taps; a pixel shuffle interleaves them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sparsegen.frontend.builder import CallSite, NodeValue, to_array
from sparsegen.graph import Conv2d, PixelShuffle


@dataclass(frozen=True)
class _Axis:
    """One axis of the convolution: what it pads, its results, and how many of the shuffle's are cut off.

    `size` and `dilation` are its filter's. Tap k of the transposed filter is that of phase `phases[k]` at
    `places[k]`.
    """

    size: int
    dilation: int
    phases: tuple[int, ...]
    places: tuple[int, ...]
    padding: tuple[int, int]
    results: int
    crop: int


def _axis(extent: int, outputs: int, taps: int, stride: int, padding: int, dilation: int) -> _Axis:
    """The axis of a transposed convolution from `extent` pixels to `outputs`."""
    # Taps are moved so that the first result is the first of its phases: none is computed to be cut off.
    moved = -padding % stride
    padding, taken = padding + moved, [k * dilation + moved for k in range(taps)]
    # Without phases the filter keeps its dilation, else a dilated filter has zeros between its taps.
    unit = dilation if stride == 1 else 1
    reach = taken[-1] // stride  # of the input's pixels, from the first that a result sums
    first = min(padding // stride, reach)  # of the convolution's results, counted without padding
    last = (padding + outputs - 1) // stride
    after = max(0, last + 1 - extent)
    return _Axis(
        size=reach // unit + 1,
        dilation=unit,
        phases=tuple(at % stride for at in taken),
        places=tuple((reach - at // stride) // unit for at in taken),
        padding=(reach - first, after),
        results=extent - first + after,
        crop=padding - first * stride,
    )


def transposed_convolution(
    site: CallSite,
    value: NodeValue,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> str:
    """Layers for images, of the call's shape; `weight` is torch's, [C, K / groups, kh, kw]."""
    batch, _, *source = site.shape_of(value)
    rows, columns = (
        _axis(*axis)
        for axis in zip(source, site.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    )
    phases = stride[0] * stride[1]
    core = Conv2d(
        to_array(_filters(weight, (rows, columns), stride, groups)),
        None if bias is None else to_array(bias.repeat_interleave(phases)),
        padding=(*rows.padding, *columns.padding),
        dilation=(rows.dilation, columns.dilation),
        groups=groups,
    )
    shape = (batch, site.shape[1] * phases, rows.results, columns.results)
    convolved = site.layer(core, value, shape=shape)
    if shape == site.shape:
        return convolved
    return site.layer(PixelShuffle(stride, (rows.crop, columns.crop)), convolved, shape=site.shape)


def _filters(
    weight: torch.Tensor, axes: tuple[_Axis, _Axis], stride: tuple[int, int], groups: int
) -> torch.Tensor:
    """The filters of all phases, [K * phases, C / groups, ...], in the order of PixelShuffle's channels."""
    rows, columns = axes
    channels, outputs = weight.shape[0] // groups, weight.shape[1]
    own = weight.reshape(groups, channels, *weight.shape[1:]).transpose(1, 2)
    filters = weight.new_zeros(groups, outputs, *stride, channels, rows.size, columns.size)
    for y, (row, down) in enumerate(zip(rows.phases, rows.places, strict=True)):
        for x, (column, across) in enumerate(zip(columns.phases, columns.places, strict=True)):
            filters[:, :, row, column, :, down, across] = own[..., y, x]
    return filters.flatten(0, 3)
