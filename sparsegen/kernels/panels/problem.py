"""A convolution or linear layer as the panel kernels see it: addresses, no geometry."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from sparsegen.graph import Step
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import CHANNELS, all_of
from sparsegen.kernels.panels.lines import Reads, lines_of
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.store import Parameters

PARALLEL = ("tiles", "panels")
"""What neighbouring tasks may have in common."""


class Tile(Protocol):
    """Pixel vectors of a tile: numbers of one schedule or arrays of many, which one arithmetic serves."""

    @property
    def tile_h(self) -> Any:
        """Down."""

    @property
    def tile_w(self) -> Any:
        """Across."""


@dataclass(frozen=True)
class PanelSchedule:
    """One schedule of a panel kernel.

    rows: output channels of a panel. tile_h, tile_w: pixel vectors of a tile, whose rows x tile_h x
    tile_w accumulators stay in registers. block: input channels of a column block. chunk: panels of
    a parallel task. pixels_outer: whether a column's pixels, not its rows, are the outer of the two
    unrolled loops, which keeps the values in registers and streams the input (masked panels).
    prefetch: whether the next tile's input is fetched while a tile is computed; what the epilogue reads
    is fetched either way. format: of the weights, "masked_panels", "dense_panels" (zeros multiplied
    too) or "column_combined". permuted: whether rows that keep the same columns meet in a panel.
    unroll: columns of a mask, or groups of combined columns, of one iteration of the innermost loop.
    parallel: what neighbouring tasks, and so those of a thread, have in common: with "tiles" a tile's
    input, with "panels" a chunk's weights. pack_input: whether a tile's input of a column block is
    copied side by side before it is read, where that is `packable`.
    """

    rows: int
    tile_h: int
    tile_w: int
    block: int
    chunk: int
    pixels_outer: bool = True
    prefetch: bool = True
    format: str = "masked_panels"
    permuted: bool = False
    unroll: int = 1
    parallel: str = "tiles"
    pack_input: bool = False

    def as_dict(self) -> dict[str, int | str | bool]:
        """Knob by name."""
        return asdict(self)


@dataclass(frozen=True)
class PanelStore:
    """Stores points (group, panel, row, y, x, lane) of whole panels and tiles into a layout.

    `extents` are the output channels and the pixel vectors that exist; `channels_last` is set where
    the pixels come before the channels in the layout. A kernel of permuted rows has a parameter
    CHANNELS, the output channel of every row: results are stored where the next layer expects them.
    Comparable: part of a kernel's identity.
    """

    layout: Layout
    rows: int
    extents: tuple[int, int, int]
    padded: tuple[int, int, int]
    channels_last: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    def finished(
        self, value: Expr, epilogue: Epilogue, group: Expr, channel: Expr, y: Expr, x: Expr, lane: Expr
    ) -> Expr:
        """What is stored for an output's sum: the epilogue applied, zero in the halo between rows."""
        coordinates = self.coordinates(channel, y, x, lane)
        value = epilogue.apply(value, group, coordinates, lane if self.layout.batch_lanes else 0)
        holds = self.holds(coordinates)
        return value if holds is None else tirx.Select(holds, value, tirx.const(0, self.layout.dtype))

    def coordinates(self, channel: Expr, y: Expr, x: Expr, lane: Expr) -> tuple[Expr, ...]:
        """Coordinates after the batch of an output; past the image's width between rows."""
        if not self.layout.batch_lanes:
            position = x * self.layout.lanes + lane
            return (channel, position // self.layout.row, position % self.layout.row)
        pixels = (y, x)[3 - len(self.layout.element_shape) :]
        return (*pixels, channel) if self.channels_last else (channel, *pixels)

    def holds(self, coordinates: tuple[Expr, ...]) -> Expr | None:
        """Whether coordinates are an output's, not of the halo between rows; None: always."""
        if self.layout.batch_lanes:
            return None
        height, width = self.layout.shape[2:]
        return tirx.And(coordinates[1] < height, coordinates[2] < width)

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """(group, address), and the condition under which the point exists."""
        group, panel, row, y, x, lane = point
        position = panel * self.rows + row
        exists = [
            index < extent
            for index, extent, padded in zip((position, y, x), self.extents, self.padded, strict=True)
            if padded > extent
        ]
        channel = parameters[CHANNELS][position] if CHANNELS in parameters else position
        if self.layout.batch_lanes:
            address = self.layout.address(self.coordinates(channel, y, x, lane), lane)
        else:
            address = self.layout.base + channel * self.layout.plane + x * self.layout.lanes + lane
        return (group, address), all_of(exists)


@dataclass(frozen=True, eq=False)
class Depthwise:
    """A depthwise convolution whose output is a panel kernel's input.

    `matrix` is [channels, taps], `bias` [channels]; `steps` are applied to the sums, and have no operands.
    `offsets` [taps] tell where the taps of the first channel lie for the first pixel, in floats of the
    input's group.
    """

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]
    steps: tuple[Step, ...]
    offsets: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PanelProblem:
    """out[g, k, pixel, lane] = sum over columns of matrix[k, column] * x[g, offset + pixel + lane].

    `matrix` is [out channels, columns], `columns_per_channel` of them an input channel's.
    `offsets` [columns] and `pixel_steps` (of one or two pixel axes) are in floats of the input's
    group. `pixels` are vectors of the output along each pixel axis, 1 for an axis that is not there.

    With `depthwise` the columns multiply that convolution's output in place of x, which is its input: an
    offset tells where a column's channel begins there.
    """

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    columns_per_channel: int
    offsets: NDArray[np.int32]
    pixels: tuple[int, int]
    pixel_steps: tuple[int, int]
    source: Layout
    out: Layout
    channels_last: bool = False
    channel_of: NDArray[np.int32] | None = None
    depthwise: Depthwise | None = None

    def permuted(self, order: NDArray[np.intp]) -> PanelProblem:
        """The problem with its rows in another order; results go to the channels that they belong to."""
        return replace(
            self,
            matrix=self.matrix[order],
            bias=None if self.bias is None else self.bias[order],
            channel_of=order.astype(np.int32),
        )

    @property
    def channels(self) -> int:
        """Input channels."""
        return int(self.matrix.shape[1]) // self.columns_per_channel

    def identity(self, *, dense: bool) -> Hashable:
        """All that its schedules' times depend on: which weights are zeros, unless `dense`; no values."""
        zeros = b"" if dense else self._zeros
        depthwise = b"" if self.depthwise is None else self.depthwise.offsets.tobytes()
        lie = self.pixels, self.pixel_steps, self.source, self.out, self.channels_last
        return self.matrix.shape, zeros, self.columns_per_channel, self.offsets.tobytes(), depthwise, *lie

    @functools.cached_property
    def _zeros(self) -> bytes:
        """A digest of the places of zeros; empty where there are none."""
        kept = self.matrix != 0
        return b"" if kept.all() else blake2b(np.packbits(kept).tobytes()).digest()

    def code(self, *, of_channels: bool) -> Hashable:
        """All that a schedule's code depends on, beside the weights' format and the epilogue.

        With `of_channels` it knows where the input's channels lie: it copies or computes them.
        """
        lie = self.out, self.pixels, self.pixel_steps, self.columns_per_channel, self.channels_last
        channels = (self.channels, self.plane, self.offsets[: self.columns_per_channel].tobytes())
        computed = self.depthwise and (self.depthwise.steps, tuple(self.depthwise.offsets.tolist()))
        rows = self.bias is None, self.channel_of is None
        return lie, channels if of_channels else None, computed, rows

    @property
    def plane(self) -> int:
        """Floats of the input from a channel to the next one; 0 where there is one channel."""
        first, second = self.offsets[[0, self.columns_per_channel % len(self.offsets)]]
        return int(second) - int(first)

    def padded_pixels(self, schedule: Tile) -> tuple[Any, Any]:
        """The pixels rounded up to whole tiles."""
        tile = (schedule.tile_h, schedule.tile_w)
        height, width = (-(-extent // size) * size for extent, size in zip(self.pixels, tile, strict=True))
        return height, width

    @property
    def ragged(self) -> bool:
        """Whether tiles may stand over the last pixel: images have room for it past their end."""
        return self.out.is_image and not self.channels_last

    def tile_grid(self, schedule: Tile) -> tuple[int, Any, Any]:
        """Pixel tiles of the whole batch: (groups, tiles down, tiles across)."""
        height, width = self.padded_pixels(schedule)
        return self.out.groups, height // schedule.tile_h, width // schedule.tile_w

    def tile_steps(self, schedule: Tile) -> tuple[Any, Any]:
        """Floats of the input from a tile to the one below and to the one on the right."""
        return schedule.tile_h * self.pixel_steps[0], schedule.tile_w * self.pixel_steps[1]

    def tiles(self, schedule: Tile) -> Any:
        """Pixel tiles of the whole batch."""
        return math.prod(self.tile_grid(schedule))

    @property
    def reads(self) -> Reads:
        """How tiles read an input channel: that of the depthwise convolution, where there is one."""
        of_channel = self.offsets[: self.columns_per_channel]
        taps = of_channel if self.depthwise is None else self.depthwise.offsets
        return Reads(taps.astype(np.int64).tobytes(), self.pixel_steps, self.out.lanes, self.source.line)

    def lines(self, schedule: PanelSchedule) -> NDArray[np.int64]:
        """Cache lines that the first tile reads of the first input channel, as addresses in elements."""
        return lines_of(self.reads, schedule.tile_h, schedule.tile_w) * self.source.line

    def store(self, schedule: PanelSchedule) -> PanelStore:
        """How the kernel of a schedule stores its output."""
        out, task = self.matrix.shape[0], schedule.rows * schedule.chunk
        padded = -(-out // task) * task
        return PanelStore(
            layout=self.out,
            rows=schedule.rows,
            extents=(out, *self.pixels),
            padded=(padded, *self.padded_pixels(schedule)),
            channels_last=self.channels_last,
        )
