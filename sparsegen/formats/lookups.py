"""Lookups: the packed weights of products whose input stays in registers, a block of it at a time.

The matrix [out, n] is cut into tiles of some vectors of output features, and into blocks of columns: as many
as two vectors of the input hold. In a tile and block every output feature has its kept weights one after the
other, each with its place among the block's columns. One instruction looks the inputs of a whole vector of
weights up in two registers. Features that keep fewer weights than others of their tile end in zeros.

Best for: one row or a few, many zeros, anywhere, and weights that come from the caches. When not: more than
about half of the weights are kept, for the longest features decide. Never without the instruction, which came
with AVX-512.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.registry import Array, Index

NAME = "lookups"
_INPUTS = 2  # vectors that one instruction looks up in


@dataclass(frozen=True, eq=False)
class Lookups:
    """Weights [out, n] packed, of `lanes` features a vector.

    `values` [visits, features of a tile] are in order of tile, block and visit, and `places` tell the columns
    in the block. `starts` [tiles * blocks + 1] are the first visits of each tile and block.
    """

    values: Array
    places: NDArray[np.uint8]
    starts: Index
    shape: tuple[int, int]
    lanes: int

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.values.nbytes + self.places.nbytes + self.starts.nbytes

    @property
    def blocks(self) -> int:
        """Blocks of columns."""
        return -(-self.shape[1] // (_INPUTS * self.lanes))

    def unpack(self) -> Array:
        """The weight matrix [out, n] again, exactly."""
        (out, inner), width, rows = self.shape, _INPUTS * self.lanes, self.values.shape[1]
        part = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))[:, None]
        matrix = np.zeros((-(-out // rows) * rows, self.blocks * width), np.float32)
        features = part // self.blocks * rows + np.arange(rows)
        np.add.at(matrix, (features, part % self.blocks * width + self.places), self.values)
        return matrix[:out, :inner]


def pack(matrix: Array, *, vectors: int, lanes: int) -> Lookups:
    """Pack a matrix [out, n] in tiles of `vectors` vectors of `lanes` output features."""
    out, inner = matrix.shape
    weights = _parts(matrix, vectors * lanes, _INPUTS * lanes)
    order = np.argsort(weights == 0, axis=-1, kind="stable")
    first = np.take_along_axis(weights, order, -1)
    counts = _visits(weights)
    visited = np.arange(weights.shape[-1]) < counts[..., None]
    return Lookups(
        np.ascontiguousarray(first.swapaxes(-1, -2)[visited]),
        np.ascontiguousarray(order.swapaxes(-1, -2)[visited].astype(np.uint8)),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        (out, inner),
        lanes,
    )


def visits(matrix: Array, *, vectors: int, lanes: int) -> int:
    """The `visits` of what `pack` gives, without packing."""
    return int(_visits(_parts(matrix, vectors * lanes, _INPUTS * lanes)).sum())


def _parts(matrix: Array, rows: int, columns: int) -> Array:
    """[tiles, blocks, features of a tile, columns of a block], zeros past the last ones."""
    out, inner = matrix.shape
    tiles, blocks = -(-out // rows), -(-inner // columns)
    padded = np.zeros((tiles * rows, blocks * columns), np.float32)
    padded[:out, :inner] = matrix
    return padded.reshape(tiles, rows, blocks, columns).swapaxes(1, 2)


def _visits(parts: Array) -> NDArray[np.intp]:
    """Weights that the fullest feature of every tile keeps in a block."""
    most: NDArray[np.intp] = np.count_nonzero(parts, axis=-1).max(axis=-1)
    return most
