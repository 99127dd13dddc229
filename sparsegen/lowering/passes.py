"""Our own passes over TVM's loop programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

MASKED = "sparsegen.masked"  # annotates a loop whose body is predicated on `loop_var < bound`
REGISTERS = "registers"  # buffers whose name begins so are accumulators to keep in registers

Expr = Any
Store = Callable[[tuple[Expr, ...], Mapping[str, Any]], tuple[tuple[Expr, ...], Expr | None]]


def bind_output(store: Store, shape: tuple[int, ...]) -> Any:
    """Pass: the function's last parameter becomes a buffer of `shape`.

    `store` maps the indices that an element was stored under, and the other parameters by name, to
    its indices in that buffer, and to a condition under which it is stored at all (None: always).
    """

    def bind(function: Any, _mod: Any, _context: Any) -> Any:
        *inputs, old = function.params
        flat = tirx.decl_buffer(shape, old.dtype, old.name)
        parameters = {each.name: each for each in inputs}

        def rewrite(node: Any) -> Any:
            if not node.buffer.same_as(old):
                return node
            indices, condition = store(tuple(node.indices), parameters)
            stored = tirx.BufferStore(flat, node.value, list(indices))
            return stored if condition is None else tirx.IfThenElse(condition, stored, None)

        body = tvm_ffi.structural_map(function.body, (tirx.BufferStore, rewrite))
        return tirx.PrimFunc([*inputs, flat], body, function.ret_type, function.attrs)

    return tirx.transform.prim_func_pass(bind, opt_level=0)


def _tighten(function: Any, _mod: Any, _context: Any) -> Any:
    def tighten(loop: Any) -> Any:
        if MASKED not in loop.annotations:
            return loop
        bounds: list[Any] = []

        def find(test: Any) -> None:
            if test.a.same_as(loop.loop_var):
                bounds.append(test.b)

        tvm_ffi.structural_walk(loop.body, (tirx.LT, find))
        # A loop of one iteration has lost its variable, and keeps its predicate.
        extent = bounds[0] if bounds else loop.extent
        rest = {key: value for key, value in loop.annotations.items() if key != MASKED}
        return tirx.For(loop.loop_var, loop.min, extent, loop.kind, loop.body, loop.thread_binding, rest)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, tighten)))


def tighten_masked_loops() -> Any:
    """Pass: `for j in range(most): if j < n: ...`, annotated, becomes `for j in range(n): ...`.

    The predicates stay; once the loop's bound is `n`, LLVM proves them and drops them.
    """
    return tirx.transform.prim_func_pass(_tighten, opt_level=0)


def _promote(function: Any, _mod: Any, _context: Any) -> Any:
    buffers: list[Any] = []

    def collect(node: Any) -> None:
        if node.buffer.name.startswith(REGISTERS):
            buffers.append(node.buffer)

    tvm_ffi.structural_walk(function.body, (tirx.AllocBuffer, collect))
    if not buffers:
        return function
    parts = [
        [
            tirx.decl_buffer((1,), old.dtype, f"{old.name}_{i}", scope="global")
            for i in range(int(old.shape[0]))
        ]
        for old in buffers
    ]

    def parts_of(buffer: Any) -> list[Any] | None:
        return next((new for old, new in zip(buffers, parts, strict=True) if buffer.same_as(old)), None)

    def load(node: Any) -> Any:
        new = parts_of(node.source)
        return node if new is None else tirx.BufferLoad(new[int(node.indices[0])], [0])

    def store(node: Any) -> Any:
        new = parts_of(node.buffer)
        return node if new is None else tirx.BufferStore(new[int(node.indices[0])], node.value, [0])

    def allocate(node: Any) -> Any:
        new = parts_of(node.buffer)
        if new is None:
            return node
        allocations = [tirx.AllocBuffer(part) for part in new]
        return tirx.SeqStmt(allocations) if len(new) > 1 else allocations[0]

    callbacks = [(tvm.ir.TensorLoad, load), (tirx.BufferStore, store), (tirx.AllocBuffer, allocate)]
    return function.with_body(tvm_ffi.structural_map(function.body, callbacks))


def accumulators_to_registers() -> Any:
    """Pass: a buffer named `registers...`, indexed by constants alone, becomes one buffer an element.

    TVM gives "local" buffers, and any of 1,024 bytes or more, to its workspace allocator, and LLVM
    cannot promote those. Buffers of one vector go to the stack, and from there to registers.
    """
    return tirx.transform.prim_func_pass(_promote, opt_level=0)
