"""Our pass that fetches ahead what a kernel reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm_ffi
from tvm import tirx

from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.passes import with_body

PREFETCH = "sparsegen.prefetch"  # annotates up to three nested loops, by role: "task", "block", "visit"

Line = tuple[int, IntExpr, IntExpr | Callable[[Sequence[Any]], IntExpr], Condition | None]
"""Number of the function's parameter, from the end where it is negative; group, address, and the condition
under which the line is fetched.

An address that other parameters tell is a function of all of them.
"""

Lines = Callable[[IntExpr, IntExpr, Expr, Condition | None], list[Line]]
"""The lines of a visit, told by the variables of the loops over tasks, blocks and visits, 0 where there is no
such loop, and by the condition of the last block, None where there is no loop over blocks."""

_KEEP = 3  # llvm.prefetch's locality: into all levels of cache
_READ, _DATA = 0, 1


def prefetch_lines(lines: Lines | None) -> Any:
    """Pass: every iteration of the loop annotated "visit" first fetches lines.

    `lines` gives them for the loops annotated "task", "block" and "visit"; None inserts nothing.
    """

    def insert(function: Any, _mod: Any, _context: Any) -> Any:
        loops: dict[str, Any] = {}

        def find(loop: Any) -> None:
            if PREFETCH in loop.annotations:
                loops[str(loop.annotations[PREFETCH])] = loop

        def rewrite(loop: Any) -> Any:
            if PREFETCH not in loop.annotations:
                return loop
            body = loop.body
            if lines is not None and loop.annotations[PREFETCH] == "visit":
                task, block = (loops[role].loop_var if role in loops else 0 for role in ("task", "block"))
                last = block == loops["block"].extent - 1 if "block" in loops else None
                at = lines(task, block, loop.loop_var, last)
                body = tirx.SeqStmt([*(_fetch(function.params, *line) for line in at), body])
            return with_body(loop, body, without=PREFETCH)

        tvm_ffi.structural_walk(function.body, (tirx.For, find))
        return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, rewrite)))

    return tirx.transform.prim_func_pass(insert, opt_level=0)


def _fetch(
    parameters: Sequence[Any], number: int, group: IntExpr, address: Any, condition: Condition | None
) -> Any:
    at = address(parameters) if callable(address) else address
    fetch = fetch_line(parameters[number], [group, at])
    return fetch if condition is None else tirx.IfThenElse(condition, fetch, None)


def fetch_line(buffer: Any, indices: Sequence[IntExpr]) -> Any:
    """The statement that fetches the line of an element of a buffer into all levels of cache."""
    line = tirx.address_of(tirx.BufferLoad(buffer, list(indices)))
    return tirx.Evaluate(tirx.call_intrin("void", "tirx.prefetch", line, _READ, _KEEP, _DATA))
