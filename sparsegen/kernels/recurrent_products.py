"""The products of a recurrent layer's weights with the states of the step before: two formats of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from sparsegen.formats import lookups
from sparsegen.graph import Array, Recurrent
from sparsegen.kernels.linear_schedule import DENSE_FORMAT
from sparsegen.kernels.statements import loop, sequence
from sparsegen.lowering.expressions import Expr, TensorExpr
from sparsegen.target import Target

State = Callable[[int, Expr], Expr]
"""A feature of the state of a row of the block."""

Add = Callable[[Callable[[int, int, Expr], Expr]], Iterable[Any]]
"""Statements that add a term of (row, gate, lane) to every sum."""

# In cycles of a vector of weights from an L2 cache, and of its multiply-add with a row. Measured on Emerald
# Rapids, LSTMs of 256 units at 20 to 50 % density, 1 and 8 rows.
_READ, _MULTIPLY = 1.1, 0.6
_LOOKED_UP_READ, _LOOKED_UP_MULTIPLY = 0.7, 2.1


class Products(Protocol):
    """Packed weights: `arrays` are the kernel's arguments, `placeholders` their parameters.

    `rows` are the most that registers have room for, `width` the features of a state that are read, zeros
    past the last ones, and `nbytes` the size of all arrays.
    """

    format: str
    arrays: tuple[NDArray[Any], ...]
    placeholders: tuple[Any, ...]
    rows: int
    width: int

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""

    def loops(self, tile: Expr, state: State, add: Add) -> Any:
        """The loops that add a tile's products to its sums."""


def choose_products(core: Recurrent, rows: int, target: Target, *, dense: bool) -> Products:
    """The format that takes a batch of `rows` the fewest cycles; `dense` asks for every weight."""
    matrix = _by_tiles(core, target.lanes)
    if not dense and target.instructions.lookup:
        vectors = lookups.visits(matrix, vectors=core.gates, lanes=target.lanes) * core.gates
        every = matrix.size // target.lanes
        if vectors * (_LOOKED_UP_READ + _LOOKED_UP_MULTIPLY * rows) < every * (_READ + _MULTIPLY * rows):
            return _LookedUp(lookups.pack(matrix, vectors=core.gates, lanes=target.lanes), core.gates, target)
    return _Dense(matrix, core.gates, target)


def _by_tiles(core: Recurrent, lanes: int) -> Array:
    """The weights, the rows of a tile together, a vector of each gate; zeros past the last feature."""
    tiles = -(-core.hidden // lanes)
    padded = np.zeros((core.gates, tiles * lanes, core.hidden), np.float32)
    padded[:, : core.hidden] = core.weight.reshape(core.gates, core.hidden, core.hidden)
    by_tiles = padded.reshape(core.gates, tiles, lanes, core.hidden).swapaxes(0, 1)
    return by_tiles.reshape(-1, core.hidden)


class _Dense:
    """Every weight, [tiles, H, features of a tile]."""

    format = DENSE_FORMAT

    def __init__(self, matrix: Array, gates: int, target: Target) -> None:
        features, self.hidden, self.lanes = gates * target.lanes, matrix.shape[1], target.lanes
        packed = np.ascontiguousarray(matrix.reshape(-1, features, self.hidden).swapaxes(1, 2))
        self.arrays: tuple[NDArray[Any], ...] = (packed,)
        self.weight = tirx.decl_buffer(packed.shape, str(packed.dtype), "weight")
        self.placeholders: tuple[Any, ...] = (self.weight,)
        self.width = -(-self.hidden // self.lanes) * self.lanes
        self.rows = (target.registers - gates - 1) // gates  # beside the weights, and one state

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.arrays[0].nbytes

    def loops(self, tile: Expr, state: State, add: Add) -> Any:
        """A loop over the features of the states."""

        def added(k: Expr) -> Any:
            return sequence(
                add(lambda row, gate, lane: state(row, k) * self.weight[tile, k, gate * self.lanes + lane])
            )

        return loop("k", self.hidden, added)


class _LookedUp:
    """The weights that are kept, each with the place of its state in two registers."""

    format = lookups.NAME

    def __init__(self, packed: lookups.Lookups, gates: int, target: Target) -> None:
        self.nbytes, self.blocks, self.lanes = packed.nbytes, packed.blocks, target.lanes
        self.width = packed.blocks * 2 * self.lanes
        self.lookup = target.instructions.lookup
        self.arrays: tuple[NDArray[Any], ...] = (packed.values, packed.places, packed.starts)
        shape = (tirx.Var("visits", "int32"), gates * target.lanes)
        self.values: TensorExpr = tirx.decl_buffer(shape, str(packed.values.dtype), "values")
        self.places = tirx.decl_buffer(shape, "uint8", "places")
        self.starts = tirx.decl_buffer(packed.starts.shape, "int32", "starts")
        self.placeholders: tuple[Any, ...] = (self.values, self.places, self.starts)
        # A row has its sums and two vectors of states, beside weights, places, and what is looked up.
        self.rows = (target.registers - 3) // (gates + 2)

    def loops(self, tile: Expr, state: State, add: Add) -> Any:
        """A loop over the blocks of states, and in each one over the visits."""

        def visit(block: Expr, at: Expr) -> Any:
            def term(row: int, gate: int, lane: Expr) -> Expr:
                own = gate * self.lanes + lane
                first = 2 * block * self.lanes + lane
                place = self.places[at, own].astype("int32")
                found = tirx.call_llvm_pure_intrin(
                    "float32", self.lookup, state(row, first), place, state(row, first + self.lanes)
                )
                return self.values[at, own] * found

            return sequence(add(term))

        def of_block(block: Expr) -> Any:
            first, end = (self.starts[tile * self.blocks + block + i] for i in range(2))
            return loop("visit", end - first, lambda at: visit(block, at), first=first)

        return loop("states", self.blocks, of_block)
