"""How tensors lie in memory: the lane layout that all kernels share.

Two forms, one for a whole model:

- *Batch lanes*: the vector lanes hold `lanes` images, `[N / L][C][H][W][L]`. Every load is aligned,
  whatever the stride or the padding.
- *Pixel lanes*: the lanes hold neighbouring pixels of one image. A channel's plane is one run of
  pixels, row after row, that vectors cut without regard to rows; positions between the rows are
  computed and stored as zero. Planes begin at whole vectors, so that a pointwise kernel's loads are
  aligned.

An image's rows are separated by one halo, which serves as the right padding of a row and the left
padding of the next; in the same way one band of rows separates channels. Halos are always zero.
All distances are in elements, of the layout's dtype.
"""

from __future__ import annotations

import functools
import math
from dataclasses import astuple, dataclass

import numpy as np

from sparsegen.graph import FLOAT32, ITEM_BYTES
from sparsegen.lowering.expressions import Condition, Expr, IntExpr

LINE_BYTES, _SETS = 64, 64  # of an x86 core's L1 cache: bytes of a line, and sets


@dataclass(frozen=True)
class Halo:
    """What the consumers of an image read around it.

    That is pixels of zero padding on the four sides, and rows and pixels of any value past its end,
    where tiles stand over the last row or pixel.
    """

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    rows_past: int = 0
    pixels_past: int = 0

    def union(self, other: Halo) -> Halo:
        """The least halo that serves both."""
        return Halo(*(max(own, others) for own, others in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Layout:
    """Where the elements of a tensor of logical `shape` (batch first) lie in its buffer.

    The buffer holds `groups` stretches of `size` elements of `dtype`: a group is one image, or `lanes` images
    where `batch_lanes` is set. In a group, element (0, ..., 0) lies at `base`, and `strides` lead
    along the dimensions after the batch.
    """

    shape: tuple[int, ...]
    lanes: int
    batch_lanes: bool
    groups: int
    strides: tuple[int, ...]
    base: int
    size: int
    dtype: str = FLOAT32

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ITEM_BYTES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole buffer."""
        return self.groups * self.size * self.itemsize

    @property
    def line(self) -> int:
        """Elements of a cache line."""
        return LINE_BYTES // self.itemsize

    @property
    def is_image(self) -> bool:
        """Whether the tensor is [N, C, H, W] with rows and planes, or plain rows of vectors."""
        return len(self.shape) == 4

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Shape of one image or sample: the shape without the batch."""
        return self.shape[1:]

    @property
    def has_halo(self) -> bool:
        """Whether an image's buffer has places that are no element's, which must be zero."""
        return self.size != math.prod(self.element_shape) * self.step

    @property
    def step(self) -> int:
        """Elements from an element to the next one of its row."""
        return self.lanes if self.batch_lanes else 1

    @property
    def row(self) -> int:
        """Elements from a row of an image to the next one."""
        return self.strides[-2]

    @property
    def plane(self) -> int:
        """Elements from a channel of an image to the next one."""
        return self.strides[-3]

    @property
    def space(self) -> tuple[int, ...]:
        """Iteration space of a kernel that writes every element: groups first.

        Batch lanes come last. Without them an image's rows extend over the halo between rows,
        which the kernel has to write as zero: see `holds`.
        """
        if self.batch_lanes:
            return (self.groups, *self.element_shape, self.lanes)
        if self.is_image:
            return (self.groups, *self.shape[1:3], self.row)
        return (self.groups, *self.element_shape)

    def coordinates(self, point: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """Coordinates after the batch of a point of `space`."""
        return point[1:-1] if self.batch_lanes else point[1:]

    def lane(self, point: tuple[Expr, ...]) -> IntExpr:
        """The lane of a point of `space`: 0 without batch lanes."""
        return point[-1] if self.batch_lanes else 0

    def holds(self, coordinates: tuple[IntExpr, ...]) -> Condition | None:
        """Whether coordinates of a point of `space` are an element's; None where all are."""
        if self.batch_lanes or not self.is_image or self.row == self.shape[3]:
            return None
        return coordinates[-1] < self.shape[3]

    def address(self, coordinates: tuple[IntExpr, ...], lane: IntExpr = 0) -> IntExpr:
        """Where an element lies in its group; `lane` is 0 without batch lanes."""
        return sum((c * s for c, s in zip(coordinates, self.strides, strict=True)), start=self.base) + lane

    @property
    def run(self) -> int:
        """Positions from the first to the last pixel of a plane, which pixel lanes cut in vectors."""
        return (self.shape[2] - 1) * self.row + self.shape[3]

    @property
    def vectors(self) -> int:
        """Vectors of a plane's run."""
        return -(-self.run // self.lanes)

    @property
    def pixel_vectors(self) -> tuple[int, int]:
        """Vectors of an image along its two pixel axes: (1, vectors of a plane) with pixel lanes."""
        return (self.shape[2], self.shape[3]) if self.batch_lanes else (1, self.vectors)

    def pixel_steps(self, stride: tuple[int, int]) -> tuple[int, int]:
        """Elements between the input vectors of neighbouring outputs along the two pixel axes.

        With pixel lanes the stride is 1.
        """
        return (stride[0] * self.row, stride[1] * self.step) if self.batch_lanes else (0, self.lanes)

    def zero_spans(self) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """(planes, plane, spans) of an image's halo past its `base`: (begin, end) in every plane.

        With pixel lanes the halo between rows is written with the rows.
        """
        channels, height, width = self.element_shape
        if not self.batch_lanes:
            return channels, self.plane, ((self.run, self.plane),)
        between = tuple((y * self.row + width * self.step, (y + 1) * self.row) for y in range(height - 1))
        return channels, self.plane, (*between, ((height - 1) * self.row + width * self.step, self.plane))


@functools.cache
def _spread(plane: int, row: int, line: int) -> int:
    """The plane's size with padding such that the channels' lines share the sets of an L1 cache evenly.

    Channels a multiple of 4 KiB apart would meet in the same few sets. The padding, at most a
    quarter of the plane, is the least that is best for windows of 3 rows of 8 lines in 16 channels.
    """
    window = (np.arange(3)[:, None] * row // line + np.arange(min(8, -(-row // line)))).reshape(-1)

    def busiest(padding: int) -> int:
        lines = np.arange(16)[:, None] * (plane // line + padding) + window
        return int(np.bincount(lines.reshape(-1) % _SETS).max())

    return plane + line * min(range(min(32, plane // line // 4) + 1), key=busiest)


def plan_layout(
    shape: tuple[int, ...], *, lanes: int, batch_lanes: bool, halo: Halo | None = None, dtype: str = FLOAT32
) -> Layout:
    """The layout of a tensor of `shape`, with room for `halo` around an image.

    `lanes` are those of a vector of elements of `dtype`: see `Target.lanes_of`. Batch lanes need at
    least one dimension: the first is the batch.
    """
    batch = shape[0] if shape else 1
    groups = -(-batch // lanes) if batch_lanes else batch
    if len(shape) == 4:
        return _image_layout(shape, lanes, batch_lanes, groups, halo or Halo(), dtype)
    step = lanes if batch_lanes else 1
    extents = list(shape[1:])
    if extents and not batch_lanes:
        extents[-1] = -(-extents[-1] // lanes) * lanes
    strides = [step * math.prod(extents[i + 1 :]) for i in range(len(extents))]
    size = max(lanes, step * math.prod(extents))
    return Layout(shape, lanes, batch_lanes, groups, tuple(strides), 0, size, dtype)


def _image_layout(
    shape: tuple[int, ...], lanes: int, batch_lanes: bool, groups: int, halo: Halo, dtype: str
) -> Layout:
    _, channels, height, width = shape
    step = lanes if batch_lanes else 1
    row = (width + max(halo.left, halo.right)) * step
    band = max(halo.top, halo.bottom)
    plane = -(-(height + band) * row // lanes) * lanes
    if channels > 1 and (height, width) != (1, 1):
        plane = _spread(plane, row, LINE_BYTES // ITEM_BYTES[dtype])
    base = halo.top * row + halo.left * step
    if not batch_lanes:
        base = -(-base // lanes) * lanes
    past = (halo.bottom + halo.rows_past) * row + (halo.right + halo.pixels_past) * step
    size = base + channels * plane + past
    size = -(-size // lanes) * lanes
    return Layout(shape, lanes, batch_lanes, groups, (plane, row, step), base, size, dtype)
