"""One direction of an LSTM's or GRU's layer: a loop over the steps, in one function.

The vectors hold neighbouring features of a state, and a tile one vector of every gate, whose products with
the state before stay in registers until the gates are applied. Rows of the batch know nothing of each other:
a task is some of them, over all steps, so that threads never wait for one another between steps. Rows that
registers have no room for use a tile's weights one block after the other, while the nearest cache has them.

Best for: small batches, whose steps wait for the weights, which come from the caches at every step. Zeros are
skipped for up to some four rows; more rows take longer over lookups than over all weights. When not: batches
that fill the lanes, with many zeros, where lanes that hold rows would skip them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from sparsegen.graph import Array, Layer, Recurrent
from sparsegen.kernels import mathematics
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.operands import Operand, read
from sparsegen.kernels.recurrent_products import Products, choose_products
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.kernels.statements import Body, loop, sequence
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.passes import REGISTERS
from sparsegen.lowering.store import Parameters

_MOST_BLOCKS = 4  # of a task: their states stay in the caches


@kernel_for(Recurrent)
def recurrent(layer: Layer, context: Context) -> Kernel:
    """The kernel of all steps."""
    core, out = layer.core, context.layout(layer.name)
    assert isinstance(core, Recurrent)
    products = choose_products(core, layer.shape[0], context.target, dense=context.dense)
    rows = _Rows.of(layer.shape[0], products.rows, context.threads)
    loops = _Loops(core, out, products, rows, [context.operands[name] for name in layer.inputs])
    inputs = {each.name: each.argument() for each in loops.operands}
    return Kernel(
        kind="recurrent",
        module=tvm.IRModule({"main": loops.function()}),
        store=_AsItIs(out),
        arguments=(*inputs.values(), *products.arrays, *loops.bias_arrays),
        format=products.format,
        density=float(np.count_nonzero(core.weight)) / core.weight.size,
        weight_bytes=products.nbytes,
    )


@dataclass(frozen=True)
class _Rows:
    """The rows of a batch: `tasks` of `blocks` of some rows, whose products stay in registers together.

    The last blocks may take the batch's last row again.
    """

    batch: int
    tasks: int
    blocks: int
    block: int

    @staticmethod
    def of(batch: int, most: int, threads: int) -> _Rows:
        """Blocks of at most so many rows, shared evenly by the threads."""
        blocks = -(-batch // most)
        tasks = max(min(threads, blocks), -(-blocks // _MOST_BLOCKS))
        return _Rows(batch, tasks, -(-blocks // tasks), -(-batch // blocks))

    @property
    def of_task(self) -> int:
        """Rows of a task."""
        return self.blocks * self.block

    def at(self, task: Expr, row: Expr) -> Expr:
        """The place in the batch of a row of a task."""
        place = task * self.of_task + row
        return place if self.tasks * self.of_task == self.batch else tirx.min(place, self.batch - 1)


@dataclass(frozen=True)
class _AsItIs:
    """Stores where the function does: in the layout's buffer."""

    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    def __call__(self, point: tuple[Expr, ...], parameters: Parameters) -> tuple[tuple[Expr, ...], None]:
        """The indices themselves."""
        return point, None


class _Loops:
    """The function's loops. Parameters: the inputs, those of the weights, the bias where there is one, out.

    A task keeps the states of its rows in buffers of its own: the hidden one twice, as every tile of a step
    reads all of the step before.
    """

    def __init__(
        self, core: Recurrent, out: Layout, products: Products, rows: _Rows, operands: list[Operand]
    ) -> None:
        self.core, self.out, self.products, self.rows, self.operands = core, out, products, rows, operands
        self.lanes, self.gates = out.lanes, core.gates
        self.tiles = -(-core.hidden // out.lanes)
        self.steps = out.shape[1] - core.keeps_cell
        self.inputs = {each.name: _buffer(each) for each in operands}
        self.result = tirx.decl_buffer((out.groups, out.size), out.dtype, "out")
        self.bias_arrays: tuple[Array, ...] = ()
        if core.bias is not None:
            self.bias_arrays = (np.pad(core.bias, (0, self.tiles * out.lanes - core.hidden)),)
        self.bias = [tirx.decl_buffer(each.shape, str(each.dtype), "bias") for each in self.bias_arrays]
        self.state = tirx.decl_buffer((2, rows.of_task, products.width), out.dtype, "state")
        self.cell = tirx.decl_buffer((rows.of_task, self.tiles * out.lanes), out.dtype, "cell")
        sums = rows.block * self.gates * out.lanes
        self.registers = tirx.decl_buffer((sums,), accumulator_of(out.dtype), REGISTERS)

    def function(self) -> Any:
        """The whole function."""
        body = loop("task", self.rows.tasks, self._task, kind=tirx.ForKind.PARALLEL)
        parameters = [*self.inputs.values(), *self.products.placeholders, *self.bias, self.result]
        attributes = tvm.ir.make_node("ir.DictAttrs", **{"tirx.noalias": True})
        return tirx.PrimFunc(parameters, body, None, attributes)

    def _task(self, task: Expr) -> Any:
        """Some rows of the batch, over all steps."""
        own = [tirx.AllocBuffer(self.state), *([tirx.AllocBuffer(self.cell)] if self._has_cell else [])]
        whole = self.products.width // self.lanes
        begins = [
            self._each_vector(task, whole, self._clear),
            self._each_vector(task, self.tiles, self._begin),
        ]
        ends = [self._each_vector(task, self.tiles, self._end)] if self.core.keeps_cell else []
        steps = loop("step", self.steps, lambda step: self._step(task, step))
        return tirx.SeqStmt([*own, *begins, steps, *ends])

    @property
    def _has_cell(self) -> bool:
        return self.core.kind == "lstm"

    def _each_vector(
        self, task: Expr, vectors: int, body: Callable[[Expr, Expr, Expr], Iterable[Any]]
    ) -> Any:
        """`body(n, row, feature)` in some vectors of every row of a task, n being its place in the batch."""

        def of_vector(row: Expr, tile: Expr) -> Any:
            place = self.rows.at(task, row)
            return self.vector(lambda lane: sequence(body(place, row, tile * self.lanes + lane)))

        return loop(
            "row",
            self.rows.of_task,
            lambda row: loop("tile", vectors, lambda tile: of_vector(row, tile)),
        )

    def _clear(self, n: Expr, row: Expr, feature: Expr) -> Iterator[Any]:
        """Zeros in both hidden states, past their features too."""
        for which in range(2):
            yield tirx.BufferStore(self.state, mathematics.constant(0.0), [which, row, feature])

    def _begin(self, n: Expr, row: Expr, feature: Expr) -> Iterator[Any]:
        """The initial states."""
        hidden, cell = (*self.operands[1:], None, None)[:2]
        yield tirx.BufferStore(self.state, self._initial(hidden, n, feature), [0, row, feature])
        if self._has_cell:
            value = self._initial(cell, n, feature)
            yield tirx.BufferStore(self.cell, value, [row, feature])

    def _initial(self, operand: Operand | None, n: Expr, feature: Expr) -> Expr:
        zero = mathematics.constant(0.0)
        if operand is None:
            return zero
        value = read(operand, self.inputs[operand.name], n, (feature,), 0)
        if self.core.hidden % self.lanes == 0:
            return value
        # What a value has past its features may be anything.
        return tirx.if_then_else(feature < self.core.hidden, value, zero)

    def _end(self, n: Expr, row: Expr, feature: Expr) -> Iterator[Any]:
        """The last cell state, after the last step's hidden one."""
        value = tirx.BufferLoad(self.cell, [row, feature])
        yield tirx.BufferStore(self.result, value, [n, self.out.address((self.steps, feature))])

    def _step(self, task: Expr, step: Expr) -> Any:
        time = self.steps - 1 - step if self.core.reverse else step

        def of_block(tile: Expr, block: Expr) -> Any:
            vectors = [
                _Gates(self, task, block * self.rows.block + row, row, tile, time)
                for row in range(self.rows.block)
            ]
            return tirx.SeqStmt(
                [
                    tirx.AllocBuffer(self.registers),
                    *self._each_register(lambda *_: mathematics.constant(0.0)),
                    self._multiply(tile, block, step % 2),
                    *(each for vector in vectors for each in vector.statements(step)),
                ]
            )

        return loop(
            "tile",
            self.tiles,
            lambda tile: loop("block", self.rows.blocks, lambda block: of_block(tile, block)),
        )

    def _multiply(self, tile: Expr, block: Expr, before: Expr) -> Any:
        """Add the products with the states before."""

        def state(row: int, feature: Expr) -> Expr:
            return tirx.BufferLoad(self.state, [before, block * self.rows.block + row, feature])

        def add(term: Callable[[int, int, Expr], Expr]) -> Iterable[Any]:
            def added(row: int, gate: int, lane: Expr) -> Expr:
                held = tirx.BufferLoad(self.registers, [self.register(row, gate, lane)])
                return held + term(row, gate, lane)

            return self._each_register(added)

        return self.products.loops(tile, state, add)

    def _each_register(self, value: Callable[[int, int, Expr], Expr]) -> Iterator[Any]:
        def stored(row: int, gate: int, lane: Expr) -> Any:
            return tirx.BufferStore(self.registers, value(row, gate, lane), [self.register(row, gate, lane)])

        for row, gate in itertools.product(range(self.rows.block), range(self.gates)):
            yield self.vector(partial(stored, row, gate))

    def register(self, row: int, gate: int, lane: Expr) -> Expr:
        """Where the sum of a row's gate is."""
        return (row * self.gates + gate) * self.lanes + lane

    def vector(self, body: Body) -> Any:
        """`body(lane)` for a whole vector."""
        return loop("lane", self.lanes, body, kind=tirx.ForKind.VECTORIZED)


@dataclass(frozen=True)
class _Gates:
    """One vector of a row's gates, in the registers of their products, and of its new states.

    `row` is that of the task, and `held` that of the registers; `time` is the place in the sequence.
    """

    loops: _Loops
    task: Expr
    row: Expr
    held: int
    tile: Expr
    time: Expr

    def statements(self, step: Expr) -> list[Any]:
        """Apply the gates; the new hidden state goes to the result, and to the states of the next step."""
        loops, before, after = self.loops, step % 2, (step + 1) % 2
        gates = self._lstm() if loops.core.kind == "lstm" else self._gru(before)
        place = loops.out.address((self.time, tirx.const(0, "int32")))

        def stored(lane: Expr) -> Any:
            feature = self._feature(lane)
            return tirx.SeqStmt(
                [
                    tirx.BufferStore(loops.state, self._gate(0, lane), [after, self.row, feature]),
                    tirx.BufferStore(loops.result, self._gate(0, lane), [self._place, place + feature]),
                ]
            )

        return [*gates, loops.vector(stored)]

    def _lstm(self) -> list[Any]:
        """The four gates, and the cell's state; the hidden one takes the first gate's place."""
        sigmoid, tanh, gate, loops = mathematics.sigmoid, mathematics.tanh, self._gate, self.loops

        def cell(lane: Expr) -> Expr:
            return tirx.BufferLoad(loops.cell, [self.row, self._feature(lane)])

        def kept(lane: Expr) -> Any:
            value = gate(1, lane) * cell(lane) + gate(0, lane) * gate(2, lane)
            return tirx.BufferStore(loops.cell, value, [self.row, self._feature(lane)])

        activations = (sigmoid, sigmoid, tanh, sigmoid)
        return [
            *(self._activate(which, activation) for which, activation in enumerate(activations)),
            loops.vector(kept),
            self._put(0, lambda lane: gate(3, lane) * tanh(cell(lane))),
        ]

    def _gru(self, before: Expr) -> list[Any]:
        """Reset, update and new gates; the state takes the first one's place."""
        gate, loops = self._gate, self.loops

        def new(lane: Expr) -> Expr:
            product = gate(2, lane)
            for bias in loops.bias:
                product = product + tirx.BufferLoad(bias, [self._feature(lane)])
            return mathematics.tanh(self._given(2, lane) + gate(0, lane) * product)

        def mixed(lane: Expr) -> Expr:
            old = tirx.BufferLoad(loops.state, [before, self.row, self._feature(lane)])
            return gate(2, lane) + gate(1, lane) * (old - gate(2, lane))

        return [
            self._activate(0, mathematics.sigmoid),
            self._activate(1, mathematics.sigmoid),
            self._put(2, new),
            self._put(0, mixed),
        ]

    def _activate(self, which: int, activation: Callable[[Expr], Expr]) -> Any:
        return self._put(which, lambda lane: activation(self._gate(which, lane) + self._given(which, lane)))

    def _put(self, which: int, value: Body) -> Any:
        loops = self.loops
        return loops.vector(
            lambda lane: tirx.BufferStore(
                loops.registers, value(lane), [loops.register(self.held, which, lane)]
            )
        )

    def _gate(self, which: int, lane: Expr) -> Expr:
        return tirx.BufferLoad(self.loops.registers, [self.loops.register(self.held, which, lane)])

    def _given(self, which: int, lane: Expr) -> Expr:
        """What the step's input contributes to a gate."""
        source = self.loops.operands[0]
        index = (self.time, which * (source.shape[-1] // self.loops.gates) + self._feature(lane))
        return read(source, self.loops.inputs[source.name], self._place, index, 0)

    @property
    def _place(self) -> Expr:
        """The row's place in the batch."""
        return self.loops.rows.at(self.task, self.row)

    def _feature(self, lane: Expr) -> Expr:
        return self.tile * self.loops.lanes + lane


def _buffer(operand: Operand) -> Any:
    """The parameter that stands for an operand."""
    tensor = operand.placeholder()
    return tirx.decl_buffer(tensor.shape, tensor.dtype, tensor.op.name)
