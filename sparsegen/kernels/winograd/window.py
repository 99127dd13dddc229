"""Which elements of the input a convolution's taps read, where minimal filtering serves them."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from math import isqrt

import numpy as np

from sparsegen.kernels.operands import pick
from sparsegen.kernels.taps import Index, TapConv2d
from sparsegen.kernels.winograd.parts import Parts, part_of
from sparsegen.kernels.winograd.transforms import MOST_TAPS
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.layout import Layout


def refusal(conv: TapConv2d) -> str | None:
    """Why minimal filtering does not serve a convolution; None where it does."""
    kernel, width = conv.weight.shape[2:]
    if conv.groups != 1:
        return "it has groups"
    if kernel != width:
        return f"its filters are {kernel}x{width}, not square"
    if not _is_square(conv):
        return "its taps are no square that moves by the same along both axes"
    stride = _stride(conv)
    if kernel <= stride:
        return f"filters of {kernel}x{kernel} with stride {stride} have one tap a phase: nothing is saved"
    if kernel > stride * MOST_TAPS:
        return f"{-(-kernel // stride)} taps along an axis would round too much: {MOST_TAPS} may be"
    return None


@dataclass(frozen=True)
class Window:
    """A square of taps side by side, of a convolution of so many `channels`, without groups.

    With a stride there are as many filters a channel as the stride has phases, pixels (stride * i + phase)
    counted from the first tap, down and across. The input may hold a channel's phases side by side, as they
    lie in the image, or each as a channel of its own: it has `planes` of a channel. `rows`, `columns` and
    `offsets` tell where the first tap of every one of the `phases` reads for output (0, 0).
    """

    kernel: int
    stride: int
    channels: int
    planes: int
    phases: tuple[tuple[int, int], ...]
    parts: Parts
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    offsets: tuple[int, ...]

    @staticmethod
    def of(conv: TapConv2d, source: Layout) -> Window:
        """The window of a convolution that is not refused, in an input of a layout."""
        (_, channels, kernel, _), stride, taps = conv.weight.shape, _stride(conv), conv.taps
        whole = (kernel - 1) % stride + 1
        every = itertools.product(range(stride), range(stride))
        phases = sorted(every, key=lambda phase: part_of(phase, whole=whole))
        counts = Counter(part_of(phase, whole=whole) for phase in phases)
        first = [y * kernel + x for y, x in phases]
        rows, columns, offsets = (
            tuple(each[first].tolist()) for each in (taps.dy, taps.dx, taps.offsets(source))
        )
        parts = Parts(tuple(counts[part] for part in sorted(counts)))
        return Window(kernel, stride, channels, _planes(conv), tuple(phases), parts, rows, columns, offsets)

    def address(self, source: Layout, channel: Expr, y: Expr, x: Expr) -> Expr:
        """Where a phase of a channel has its y-th pixel down and x-th across from the first tap's.

        `channel` counts the channels of a phase, phase after phase.
        """
        step = self.stride // isqrt(self.planes)  # of the input's pixels between those of a phase
        plane = self.planes * source.plane
        at = pick(self.offsets, self.phase(channel)) + channel % self.channels * plane
        return at + (y * source.row + x * source.step) * step

    def phase(self, channel: Expr) -> Expr:
        """The number of a channel's phase."""
        return channel // self.channels


def _planes(conv: TapConv2d) -> int:
    """Channels of the input that each of the convolution's is."""
    planes: int = conv.taps.group_channels // conv.weight.shape[1]
    return planes


def _stride(conv: TapConv2d) -> int:
    """Of the image that the input is, whole or in phases."""
    return conv.taps.stride[0] * isqrt(_planes(conv))


def _is_square(conv: TapConv2d) -> bool:
    """Whether taps lie side by side in the image that the input is, and move by the same along both axes."""
    taps, kernel, side = conv.taps, conv.weight.shape[2], isqrt(_planes(conv))
    tap = np.arange(kernel**2)
    phase_y, phase_x = np.divmod(taps.channel[: len(tap)], side)
    y, x = taps.dy[: len(tap)] * side + phase_y, taps.dx[: len(tap)] * side + phase_x
    return (
        side**2 == _planes(conv)
        and taps.stride[0] == taps.stride[1]
        and _equal(y - y[0], tap // kernel)
        and _equal(x - x[0], tap % kernel)
    )


def _equal(one: Index, other: Index) -> bool:
    return bool(np.array_equal(one, other))
