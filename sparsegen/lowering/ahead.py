"""Our pass that reads the addresses of a loop's loads some iterations before they are needed."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.passes import REGISTERS, loads_of, with_body

AHEAD = "sparsegen.ahead"  # annotates a loop with the name of the buffer that it reads addresses from
DEPTH = 2
"""Iterations that addresses are read ahead: so many elements such a buffer has past its last one."""


def read_ahead() -> Any:
    """Pass: `for j: use(buffer[i + j])`, annotated, reads `buffer[i + j + DEPTH]`, and uses what it has read.

    A core starts the oldest loads first. Behind all the vectors of an iteration, the load of the next
    one's address comes last, and the vectors at that address wait for it. The buffer holds no negative
    numbers; any number may stand past its last address.
    """
    return tirx.transform.prim_func_pass(_rewrite, opt_level=0)


def _rewrite(function: Any, _mod: Any, _context: Any) -> Any:
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, _ahead)))


def _ahead(loop: Any) -> Any:
    if AHEAD not in loop.annotations:
        return loop
    name = str(loop.annotations[AHEAD])
    reads = loads_of(loop.body, name)
    source, index = reads[0].source, reads[0].indices[0]
    assert all(tvm_ffi.structural_equal(each.indices[0], index) for each in reads)
    held = [
        tirx.decl_buffer((1,), source.dtype, f"{REGISTERS}_ahead_{i}", scope="local")
        for i in range(DEPTH + 1)
    ]
    values = [tirx.BufferLoad(each, [0]) for each in held]

    def at(position: Expr) -> Any:
        replace = (tirx.Var, lambda own: position if own.same_as(loop.loop_var) else own)
        return tirx.BufferLoad(source, [tvm_ffi.structural_map(index, replace)])

    def taken(load: Any) -> Any:
        return values[0] if load.source.name == name else load

    # The maximum changes nothing. Without it, LLVM sees loads alone and moves them to where they are needed.
    first = [tirx.BufferStore(each, tirx.max(at(loop.min + i), 0), [0]) for i, each in enumerate(held[1:])]
    moved = [tirx.BufferStore(each, value, [0]) for each, value in zip(held, values[1:], strict=False)]
    latest = tirx.BufferStore(held[-1], at(loop.loop_var + DEPTH), [0])
    body = tirx.SeqStmt([*moved, latest, tvm_ffi.structural_map(loop.body, (tvm.ir.TensorLoad, taken))])
    ahead = with_body(loop, body, without=AHEAD)
    return tirx.SeqStmt([*(tirx.AllocBuffer(each) for each in held), *first, ahead])
