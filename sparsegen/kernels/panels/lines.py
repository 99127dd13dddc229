"""Which cache lines tiles read of an input channel; worked out once for all layers of one geometry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_SETS = 64  # of an L1 cache: a page of lines, which every x86 core keeps to
_KEPT = 1 << 14  # tiles of all geometries that are kept: of a hundred layers


@dataclass(frozen=True)
class Reads:
    """How an input channel is read: `taps`, int64 as bytes, of each pixel, `steps` apart down and across.

    All are in elements; a pixel's vector has `lanes`, a cache line `line`.
    """

    taps: bytes
    steps: tuple[int, int]
    lanes: int
    line: int


@lru_cache(_KEPT)
def lines_of(reads: Reads, tile_h: int, tile_w: int) -> NDArray[np.int64]:
    """Cache lines that the first tile reads of the first channel, ascending; the array cannot be written."""
    y, x = np.indices((tile_h, tile_w)).reshape(2, -1)
    starts = (y * reads.steps[0] + x * reads.steps[1])[:, None] + np.frombuffer(reads.taps, np.int64)
    ends = starts + reads.lanes - 1
    lines = _distinct(np.concatenate([starts // reads.line, ends // reads.line]).reshape(-1))
    lines.flags.writeable = False
    return lines


@lru_cache(_KEPT)
def share_of_l1(reads: Reads, tile_h: int, tile_w: int, *, plane: int, channels: int) -> float:
    """The share of the L1 cache that a tile's lines of so many channels, `plane` lines apart, can use.

    Where strides leave out every other line, lines crowd in half of the cache's sets.
    """
    lines, channels = lines_of(reads, tile_h, tile_w), min(channels, _SETS)
    starts = _distinct(np.arange(channels) * plane % _SETS)
    sets = _distinct(lines % _SETS)[:, None] + starts
    used = np.count_nonzero(np.bincount((sets % _SETS).reshape(-1)))
    return min(1.0, used / min(_SETS, len(lines) * channels))


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers, none negative or large, once each and ascending; several times as fast as np.unique."""
    return np.flatnonzero(np.bincount(numbers))
