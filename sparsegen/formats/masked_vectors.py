"""Masked vectors: the packed weights of linear layers whose time is that of reading them.

The matrix [out, n] is cut into tiles of some vectors of output features. Of every vector and every
column, the weights that are kept lie one after the other, and a mask of a bit a lane tells which they are:
one load and one instruction, `expand`, put them back in their lanes. Every weight is read once, and no
zero.

Best for: few rows (batches below the lanes), and layers larger than the caches. When not: where
multiply-adds, not memory, are waited for: a vector costs as many as if it had no zeros. Never without the
instruction, which came with AVX-512.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.registry import Array, Index

NAME = "masked_vectors"


@dataclass(frozen=True, eq=False)
class MaskedVectors:
    """Weights [out, n] packed.

    `values` [nonzeros + lanes] are in order of tile, column, vector, lane; those past the last are
    zeros, for whole vectors are loaded. `masks` [tiles, n, vectors] have bit l for lane l of `lanes`, of
    which there are 16 at most. `starts` [tiles, n] tell where the values of a tile's column begin.
    """

    values: Array
    masks: NDArray[np.uint16]
    starts: Index
    shape: tuple[int, int]
    lanes: int

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.values.nbytes + self.masks.nbytes + self.starts.nbytes

    def unpack(self) -> Array:
        """The weight matrix [out, n] again, exactly."""
        kept = (self.masks[..., None] >> np.arange(self.lanes)) & 1 == 1
        tiles = np.zeros(kept.shape, np.float32)
        tiles[kept] = self.values[: -self.lanes]
        out, inner = self.shape
        return tiles.transpose(0, 2, 3, 1).reshape(-1, inner)[:out]


def pack(matrix: Array, *, vectors: int, lanes: int) -> MaskedVectors:
    """Pack a matrix [out, n] in tiles of `vectors` vectors of `lanes` output features."""
    out, inner = matrix.shape
    tiles = -(-out // (vectors * lanes))
    padded = np.zeros((tiles * vectors * lanes, inner), np.float32)
    padded[:out] = matrix
    weights = np.ascontiguousarray(padded.reshape(tiles, vectors, lanes, inner).transpose(0, 3, 1, 2))
    kept = weights != 0
    masks = (kept * (1 << np.arange(lanes, dtype=np.uint16))).sum(axis=3, dtype=np.uint16)
    counts = kept.sum(axis=(2, 3))
    starts = np.cumsum(counts).reshape(counts.shape) - counts
    values = np.append(weights[kept], np.zeros(lanes, np.float32))
    return MaskedVectors(values, masks, starts.astype(np.int32), (out, inner), lanes)


def packed_bytes(matrix: Array, *, vectors: int, lanes: int) -> int:
    """The `nbytes` of what `pack` gives, without packing."""
    out, inner = matrix.shape
    tiles = -(-out // (vectors * lanes))
    return 4 * (int(np.count_nonzero(matrix)) + lanes) + int(tiles * inner) * (2 * vectors + 4)
