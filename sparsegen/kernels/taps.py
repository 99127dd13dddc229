"""Convolutions as taps: which input element each column of the filter matrix reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import Array, Conv2d, Layer, LoweredCore, SeparableConv2d, Shape
from sparsegen.lowering.layout import Halo, Layout

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Taps:
    """For every column (input channel of a group, kh, kw): channel, and distance from the pixel.

    Output pixel (y, x) reads element (channel, y * stride[0] + dy, x * stride[1] + dx) of the input,
    `group_channels` further for each group.
    """

    channel: Index
    dy: Index
    dx: Index
    stride: tuple[int, int]
    group_channels: int

    def halo(self, source: Shape, out: Shape) -> Halo:
        """Padding that the taps need around an input of shape [N, C, H, W] for an output's."""
        (height, width), (out_height, out_width) = source[2:], out[2:]
        return Halo(
            top=max(0, -int(self.dy.min())),
            bottom=max(0, (out_height - 1) * self.stride[0] + int(self.dy.max()) - height + 1),
            left=max(0, -int(self.dx.min())),
            right=max(0, (out_width - 1) * self.stride[1] + int(self.dx.max()) - width + 1),
        )

    def offsets(self, source: Layout) -> NDArray[np.int32]:
        """Where each column's element for output pixel (0, 0) lies in the input's group, in floats."""
        at = source.base + self.channel * source.plane + self.dy * source.row + self.dx * source.step
        return at.astype(np.int32)


@dataclass(frozen=True, eq=False)
class TapConv2d(LoweredCore):
    """A convolution with its taps: weight as in `Conv2d`, on an input that may be split by phase."""

    weight: Array
    bias: Array | None
    groups: int
    taps: Taps

    @property
    def matrix(self) -> Array:
        """Filter matrix [K, columns]."""
        return self.weight.reshape(len(self.weight), -1)


@dataclass(frozen=True)
class SplitPhases(LoweredCore):
    """The input's pixels (stride * i + phase) as planes of their own, so that strides become 1.

    Output channel `c * len(phases) + p` holds phase p of channel c; what lies past the input's edge
    is zero.
    """

    stride: tuple[int, int]
    phases: tuple[tuple[int, int], ...]

    def shape(self, source: Shape) -> Shape:
        """Shape of the result for an input [N, C, H, W]."""
        batch, channels, height, width = source
        return (batch, channels * len(self.phases), -(-height // self.stride[0]), -(-width // self.stride[1]))


def direct_taps(conv: Conv2d) -> Taps:
    """Taps on the convolution's own input."""
    _, channels, height, width = conv.weight.shape
    channel, ky, kx = (a.reshape(-1) for a in np.indices((channels, height, width)))
    dy = ky * conv.dilation[0] - conv.padding[0]
    dx = kx * conv.dilation[1] - conv.padding[2]
    return Taps(channel, dy, dx, conv.stride, channels)


def taps_of(layer: Layer) -> Taps | None:
    """Which elements of its input a convolution with its taps placed reads; None for other layers."""
    match layer.core:
        case TapConv2d(taps=taps):
            return taps
        case SeparableConv2d(depthwise=depthwise):
            return direct_taps(depthwise)
        case _:
            return None


def phase_taps(conv: Conv2d) -> tuple[SplitPhases, Taps]:
    """Taps on the input split by phase, and the split: only phases that some tap reads."""
    taps = direct_taps(conv)
    (shift_y, phase_y), (shift_x, phase_x) = (
        np.divmod(taps.dy, conv.stride[0]),
        np.divmod(taps.dx, conv.stride[1]),
    )
    of_tap = list(zip(phase_y.tolist(), phase_x.tolist(), strict=True))
    phases = tuple(sorted(set(of_tap)))
    position = np.array([phases.index(phase) for phase in of_tap])
    channel = taps.channel * len(phases) + position
    split = SplitPhases(conv.stride, phases)
    return split, Taps(channel, shift_y, shift_x, (1, 1), taps.group_channels * len(phases))
