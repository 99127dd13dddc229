"""A convolution as Winograd's kernel sees it: tiles of the output, groups of tiles, where they are stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tvm import tirx

from sparsegen.kernels.space import Point
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd.transforms import TRANSFORMS, Transform
from sparsegen.lowering.kernel import Parameters
from sparsegen.lowering.layout import Layout

Expr = Any


@dataclass(frozen=True)
class WinogradSchedule:
    """One schedule of a convolution by Winograd's minimal filtering.

    outputs: of a tile along each axis, 2 or 4. rows: output channels that share a tile's input.
    tiles_h, tiles_w: tiles transformed together, whose rows x tiles_h x tiles_w sums stay in
    registers. chunk: groups of rows of a parallel task; each task transforms its tiles' input anew.
    """

    outputs: int
    rows: int
    tiles_h: int
    tiles_w: int
    chunk: int

    def as_dict(self) -> Point:
        """Knob by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class WinogradProblem:
    """A 3x3 convolution with stride, dilation and groups of 1, and how its input and output lie.

    A vector holds the same pixel of a tile of several images (batch lanes) or of several tiles of one.
    """

    conv: TapConv2d
    source: Layout
    out: Layout

    @staticmethod
    def of(conv: TapConv2d, source: Layout, out: Layout) -> WinogradProblem | None:
        """The problem of a convolution; None for one that has another form.

        With pixel lanes the padding has to be 1, which leaves a row of zeros past the image.
        """
        taps = conv.taps
        fits = (
            conv.groups == 1
            and conv.weight.shape[2:] == (3, 3)
            and taps.stride == (1, 1)
            and taps.group_channels == conv.weight.shape[1]
            and np.array_equal(taps.dy[:9] - taps.dy[0], np.arange(9) // 3)
            and np.array_equal(taps.dx[:9] - taps.dx[0], np.arange(9) % 3)
            and (out.batch_lanes or (taps.dy[0] == taps.dx[0] == -1 and source.shape[2:] == out.shape[2:]))
        )
        return WinogradProblem(conv, source, out) if fits else None

    @property
    def channels(self) -> tuple[int, int]:
        """Output and input channels."""
        return self.conv.weight.shape[0], self.conv.weight.shape[1]

    def lane_tiles(self, outputs: int) -> tuple[int, int]:
        """Tiles of an image in a vector, down and across: one of each of its images with batch lanes."""
        if self.out.batch_lanes:
            return 1, 1
        across = 1
        while across < self.out.lanes and across * outputs < self.out.row:
            across *= 2
        return self.out.lanes // across, across

    def tiles(self, outputs: int) -> tuple[int, int]:
        """Vectors of tiles of an image down and across; the last ones may stand over its end.

        With pixel lanes they reach over the halo between rows, which has to be written as zero.
        """
        height, width = self.out.shape[2], self.out.shape[3] if self.out.batch_lanes else self.out.row
        down, across = self.lane_tiles(outputs)
        return -(-height // (outputs * down)), -(-width // (outputs * across))

    def groups(self, knobs: WinogradSchedule) -> tuple[int, int]:
        """Groups of tiles of an image down and across."""
        down, across = self.tiles(knobs.outputs)
        return down // knobs.tiles_h, across // knobs.tiles_w

    def panels(self, knobs: WinogradSchedule) -> int:
        """Groups of rows."""
        return -(-self.channels[0] // knobs.rows)

    def transform(self, knobs: WinogradSchedule) -> Transform:
        """The matrices of a schedule's tiles."""
        return TRANSFORMS[knobs.outputs]

    def store(self, knobs: WinogradSchedule) -> WinogradStore:
        """How the kernel of a schedule stores its output."""
        return WinogradStore(self.out, knobs, *self.lane_tiles(knobs.outputs))


@dataclass(frozen=True)
class WinogradStore:
    """Stores points (group, tile group's y and x, panel, row, tiles' y and x, ...) into a layout.

    The rest is (y, x, lane) of a tile with batch lanes, and (y, tile down, x) of a vector of tiles, x along
    all of its row, with pixel lanes: `down` and `across` are the tiles of a vector. Comparable: part of a
    kernel's identity.
    """

    layout: Layout
    knobs: WinogradSchedule
    down: int
    across: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    def coordinates(self, point: tuple[Expr, ...]) -> tuple[Expr, Expr, Expr]:
        """Channel, y and x of a point, which may lie past the image or the last channel."""
        _, group_y, group_x, panel, row, tile_y, tile_x, y, *inner = point
        knobs = self.knobs
        of_y, x = (0, inner[0]) if self.layout.batch_lanes else inner
        at_y = (group_y * knobs.tiles_h + tile_y) * self.down + of_y
        at_x = (group_x * knobs.tiles_w + tile_x) * self.across
        return panel * knobs.rows + row, at_y * knobs.outputs + y, at_x * knobs.outputs + x

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[Expr, ...], Expr | None]:
        """(group, address), and the condition under which the point exists."""
        coordinates, knobs = self.coordinates(point), self.knobs
        _, channels, height, width = self.layout.shape
        extents = (channels, height, width if self.layout.batch_lanes else self.layout.row)
        steps = (knobs.rows, knobs.outputs * self.down, knobs.outputs * self.across)
        condition = None
        for at, extent, step in zip(coordinates, extents, steps, strict=True):
            if extent % step:
                condition = at < extent if condition is None else tirx.And(condition, at < extent)
        lane = point[-1] if self.layout.batch_lanes else 0
        return (point[0], self.layout.address(coordinates, lane)), condition
