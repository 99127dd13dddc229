"""A convolution as Winograd's kernel sees it: tiles of the output, groups of tiles, where they are stored."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tvm import te

from sparsegen.formats.permutation import order_by, shared_columns
from sparsegen.graph import Array
from sparsegen.kernels.operands import CHANNELS, all_of
from sparsegen.kernels.space import Point
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd.kept import mean_kept
from sparsegen.kernels.winograd.transforms import Transform, outputs_for, transform
from sparsegen.kernels.winograd.window import Window, refusal
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.store import Parameters


class Knobs(Protocol):
    """`WinogradSchedule`'s: of one schedule as numbers, or of many as arrays, which one arithmetic serves."""

    @property
    def outputs(self) -> int:
        """One number, of many schedules too."""

    @property
    def rows(self) -> Any:
        """Number or array, like the others."""

    @property
    def tiles_h(self) -> Any:
        """Down."""

    @property
    def tiles_w(self) -> Any:
        """Across."""

    @property
    def chunk(self) -> Any:
        """Groups of rows."""

    @property
    def chains(self) -> int:
        """One number, of many schedules too."""


@dataclass(frozen=True)
class WinogradSchedule:
    """One schedule of a convolution by Winograd's minimal filtering.

    outputs: of a tile along each axis, 2, 4 or 6. rows: output channels that share a tile's input.
    tiles_h, tiles_w: tiles transformed together, whose rows x tiles_h x tiles_w sums stay in
    registers. chunk: groups of rows of a parallel task; each task transforms its tiles' input anew.
    """

    outputs: int
    rows: int
    tiles_h: int
    tiles_w: int
    chunk: int

    @property
    def chains(self) -> int:
        """Sums that each result is added up in."""
        return 1

    def as_dict(self) -> Point:
        """Knob by name."""
        return asdict(self)


@dataclass(frozen=True)
class SparseWinogradSchedule(WinogradSchedule):
    """One schedule of the kernel that skips the filters of which every weight is zero.

    permuted: whether output channels that keep filters of the same input channels meet in a group of rows.
    chains: sums that each result is added up in, so that few results do not wait for each other; every group
    of rows multiplies so many channels at a time.
    """

    permuted: bool = False
    chains: int = 1


@dataclass(frozen=True, eq=False)
class WinogradProblem:
    """A square convolution without dilation and groups, and how its input and output lie.

    One with a stride is one without on its input's phases, pixels (stride * i + phase), of which each is a
    channel of its own, and with a filter of every stride-th tap: a 7x7 one with stride 2 has 4 x 4 taps on 4
    phases of each channel.

    A vector holds the same pixel of a tile of several images (batch lanes) or of several tiles of one.

    `channel_of` are the output channels of permuted rows.
    """

    conv: TapConv2d
    source: Layout
    out: Layout
    channel_of: NDArray[np.int32] | None = None

    @staticmethod
    def of(conv: TapConv2d, source: Layout, out: Layout) -> WinogradProblem | None:
        """The problem of a convolution; None for one that is refused: see `window.refusal`."""
        return None if refusal(conv) is not None else WinogradProblem(conv, source, out)

    @cached_property
    def window(self) -> Window:
        """What the taps read."""
        return Window.of(self.conv, self.source)

    @property
    def geometry(self) -> Hashable:
        """All that its schedules' times depend on: not the weights."""
        return self.conv.weight.shape, self.conv.taps.stride, self.source, self.out

    @property
    def identity(self) -> Hashable:
        """All that the code of a schedule depends on: not the weights."""
        taps = self.conv.taps.offsets(self.source).tobytes()
        return self.geometry, taps, self.conv.bias is None, self.channel_of is None

    @property
    def stride(self) -> int:
        """Of the convolution, along both axes."""
        return self.window.stride

    @property
    def taps(self) -> int:
        """Along an axis, of the filter of a phase."""
        return -(-self.window.kernel // self.stride)

    @property
    def channels(self) -> tuple[int, int]:
        """Output channels, and phases of input channels."""
        return self.conv.weight.shape[0], self.conv.weight.shape[1] * self.stride**2

    @property
    def part_ends(self) -> tuple[int, ...]:
        """Of the phases of input channels, how many end the parts of `window.parts`."""
        counts = self.window.parts.counts
        return tuple(itertools.accumulate(count * self.window.channels for count in counts))

    @property
    def filters(self) -> Array:
        """The weights of every phase [K, stride * stride * C, taps, taps]: zero where one has fewer taps."""
        weight, stride, taps = self.conv.weight, self.stride, self.taps
        out_channels, channels, kernel, _ = weight.shape
        past = (0, taps * stride - kernel)
        padded = np.pad(weight, ((0, 0), (0, 0), past, past))
        by_phase = padded.reshape(out_channels, channels, taps, stride, taps, stride)
        filters = [by_phase[:, :, :, y, :, x] for y, x in self.window.phases]
        return np.concatenate(filters, axis=1)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Whether a filter has a weight that is not zero, [K, stride * stride * C]."""
        kept: NDArray[np.bool_] = (self.filters != 0).any(axis=(2, 3))
        return kept

    @cached_property
    def kept_digest(self) -> bytes:
        """All that the times of schedules which skip filters depend on, beside `geometry`."""
        return blake2b(np.packbits(self.kept).tobytes()).digest()

    def arranged(self, knobs: WinogradSchedule) -> WinogradProblem:
        """The problem with its output channels in the order of a schedule."""
        if not (isinstance(knobs, SparseWinogradSchedule) and knobs.permuted):
            return self
        order, conv = self._order(knobs.rows), self.conv
        bias = None if conv.bias is None else conv.bias[order]
        conv = replace(conv, weight=conv.weight[order], bias=bias)
        return replace(self, conv=conv, channel_of=order.astype(np.int32))

    def multiplied(self, outputs: int) -> float:
        """Phases of input channels that are multiplied at a position of tiles, on average, of all filters."""
        counts, shares = self.window.parts.counts, self._shares(outputs)
        return self.window.channels * float(np.dot(counts, shares))

    def mean_kept(self, outputs: int, rows: int, *, permuted: bool, chains: int) -> float:
        """Phases of input channels that a group of rows multiplies at a position of tiles, on average."""
        kept = self.kept[self._order(rows)] if permuted and rows > 1 else self.kept
        counts = mean_kept(kept, rows, multiple=chains, ends=self.part_ends)
        return float(np.dot(counts, self._shares(outputs)))

    def _shares(self, outputs: int) -> tuple[float, ...]:
        return self.window.parts.shares(outputs + self.taps - 1)

    def _order(self, rows: int) -> NDArray[np.intp]:
        """Output channels, those that keep filters of the same input channels side by side."""
        if rows not in self._orders:
            self._orders[rows] = order_by(self._shared, rows=rows)
        return self._orders[rows]

    @cached_property
    def _orders(self) -> dict[int, NDArray[np.intp]]:
        """By rows."""
        return {}

    @cached_property
    def _shared(self) -> NDArray[np.float32]:
        """Input channels that every two output channels keep filters of."""
        return shared_columns(self.kept.astype(np.float32))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Outputs along an axis that a tile may have."""
        return outputs_for(self.taps)

    def lane_tiles(self, outputs: int) -> tuple[int, int]:
        """Tiles of an image in a vector, down and across: one of each of its images with batch lanes."""
        if self.out.batch_lanes:
            return 1, 1
        across = 1
        while across < self.out.lanes and across * outputs < self.out.row:
            across *= 2
        return self.out.lanes // across, across

    def strips(self, outputs: int) -> tuple[int, int]:
        """With pixel lanes, rows of pixels that a vector of tiles is taken from, and their length, in pixels.

        They are whole vectors.
        """
        down, across = self.lane_tiles(outputs)
        pixels, lanes = across * outputs + self.taps - 1, self.out.lanes
        return down, -(-pixels // lanes) * lanes

    def tiles(self, outputs: int) -> tuple[int, int]:
        """Vectors of tiles of an image down and across; the last ones may stand over its end.

        With pixel lanes they reach over the halo between rows, which has to be written as zero.
        """
        height, width = self.out.shape[2], self.out.shape[3] if self.out.batch_lanes else self.out.row
        down, across = self.lane_tiles(outputs)
        return -(-height // (outputs * down)), -(-width // (outputs * across))

    def groups(self, knobs: Knobs) -> tuple[Any, Any]:
        """Groups of tiles of an image down and across."""
        down, across = self.tiles(knobs.outputs)
        return down // knobs.tiles_h, across // knobs.tiles_w

    def panels(self, knobs: Knobs) -> Any:
        """Groups of rows."""
        return -(-self.channels[0] // knobs.rows)

    def transform(self, knobs: Knobs) -> Transform:
        """The matrices of a schedule's tiles."""
        return transform(knobs.outputs, self.taps)

    def store(self, knobs: WinogradSchedule) -> WinogradStore:
        """How the kernel of a schedule stores its output."""
        return WinogradStore(self.out, knobs, *self.lane_tiles(knobs.outputs))


@dataclass(frozen=True)
class WinogradStore:
    """Stores points (group, tile group's y and x, panel, row, tiles' y and x, y, ...) into a layout.

    The rest is (x, lane) of a tile with batch lanes; with pixel lanes, (tile down, vector, lane) of the
    rows that a vector of tiles, `down` by `across`, makes up. A kernel of permuted rows has a parameter
    CHANNELS, the output channel of every row. Comparable: part of a kernel's identity.
    """

    layout: Layout
    knobs: WinogradSchedule
    down: int
    across: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    @property
    def inner(self) -> tuple[int, ...]:
        """Extents of a point's last coordinates, from y on."""
        m, lanes = self.knobs.outputs, self.layout.lanes
        if self.layout.batch_lanes:
            return m, m, lanes
        return m, self.down, -(-min(self.across * m, self.layout.row) // lanes), lanes

    def coordinates(self, point: tuple[Expr, ...]) -> tuple[Expr, Expr, Expr]:
        """Row, y and x of a point, which may lie past the image or the last row."""
        _, group_y, _, panel, row, tile_y, _, y, *rest = point
        of_y = 0 if self.layout.batch_lanes else rest[0]
        at_y = (group_y * self.knobs.tiles_h + tile_y) * self.down + of_y
        x = rest[0] if self.layout.batch_lanes else self.along(point)
        return panel * self.knobs.rows + row, at_y * self.knobs.outputs + y, self.begin(point) + x

    def begin(self, point: tuple[Expr, ...]) -> Expr:
        """The x of a point's tile, or of its vector of tiles."""
        return (point[2] * self.knobs.tiles_w + point[6]) * self.across * self.knobs.outputs

    def along(self, point: tuple[Expr, ...]) -> Expr:
        """With pixel lanes, how far along the rows of its vector of tiles a point lies.

        A row's last vector ends with the row, halo included, and computes some of the one before again.
        Where a row is shorter than a vector, what is past its end is overwritten by the next row.
        """
        lanes, whole = self.layout.lanes, self.across * self.knobs.outputs
        vector, lane = point[-2:]
        left = te.min(self.layout.row - self.begin(point), whole) if self.layout.row % whole else whole
        return te.max(te.min(vector * lanes, left - lanes), 0) + lane

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """(group, address), and the condition under which the point exists."""
        coordinates, knobs, batch_lanes = self.coordinates(point), self.knobs, self.layout.batch_lanes
        extents = self.layout.shape[1:]
        steps = (knobs.rows, knobs.outputs * self.down, knobs.outputs if batch_lanes else 1)
        exists = [
            at < extent for at, extent, step in zip(coordinates, extents, steps, strict=True) if extent % step
        ]
        lane, (row, *pixel) = point[-1] if batch_lanes else 0, coordinates
        channel = parameters[CHANNELS][row] if CHANNELS in parameters else row
        return (point[0], self.layout.address((channel, *pixel), lane)), all_of(exists)
