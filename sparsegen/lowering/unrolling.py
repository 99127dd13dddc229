"""Our passes that put off the unrolling of loops until vectors are made.

What is done before a loop is unrolled is done once, not for every copy of its body, of which a depthwise
kernel has hundreds. Where vectors would hide from the simplifier what it knows of numbers, a loop is unrolled
first.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx

from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.shuffles import SHUFFLED

_LATER = "sparsegen.unroll_later"  # annotates a loop whose unrolling is put off
_OF_LANES = (tirx.FloorDiv, tirx.FloorMod, tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)


def put_off_unrolling() -> Any:
    """Pass: loops to be unrolled become serial ones until `unroll_put_off`.

    Those stay whose copies have to be simplified while lanes are numbers: where a lane's position is divided,
    compared or shuffled, and where the loop's variable selects a value. Vectors of these do not fold.
    """

    def rewrite(function: Any, _mod: Any, _context: Any) -> Any:
        return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, put_off)))

    def put_off(loop: Any) -> Any:
        if loop.kind != tirx.ForKind.UNROLLED or _needs_numbers(loop):
            return loop
        return _with_kind(loop, tirx.ForKind.SERIAL, {**loop.annotations, _LATER: True})

    return tirx.transform.prim_func_pass(rewrite, opt_level=0)


def unroll_put_off() -> Any:
    """Pass: what `put_off_unrolling` made serial is to be unrolled again."""

    def rewrite(function: Any, _mod: Any, _context: Any) -> Any:
        return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, take_up)))

    def take_up(loop: Any) -> Any:
        if _LATER not in loop.annotations:
            return loop
        rest = {key: value for key, value in loop.annotations.items() if key != _LATER}
        return _with_kind(loop, tirx.ForKind.UNROLLED, rest)

    return tirx.transform.prim_func_pass(rewrite, opt_level=0)


def _with_kind(loop: Any, kind: Any, annotations: dict[str, Any]) -> Any:
    return tirx.For(loop.loop_var, loop.min, loop.extent, kind, loop.body, loop.thread_binding, annotations)


def _needs_numbers(loop: Any) -> bool:
    """Whether a loop's body divides, compares or shuffles lanes, or selects by an unrolled variable."""
    lanes, copies, found = list[Any](), [loop.loop_var], list[bool]()

    def sort(inner: Any) -> None:
        found.append(SHUFFLED in inner.annotations)
        if inner.kind == tirx.ForKind.VECTORIZED:
            lanes.append(inner.loop_var)
        elif inner.kind == tirx.ForKind.UNROLLED or _LATER in inner.annotations:
            copies.append(inner.loop_var)

    tvm_ffi.structural_walk(loop.body, (tirx.For, sort))

    def divides(node: Any) -> None:
        found.append(_mentions(node, lanes))

    def selects(node: Any) -> None:
        found.append(_mentions(node.condition, [*lanes, *copies]))

    tvm_ffi.structural_walk(loop.body, [*((kind, divides) for kind in _OF_LANES), (tirx.Select, selects)])
    return any(found)


def _mentions(value: Expr, variables: list[Any]) -> bool:
    found: list[bool] = []

    def look(own: Any) -> None:
        found.append(any(own.same_as(variable) for variable in variables))

    tvm_ffi.structural_walk(value, (tirx.Var, look))
    return any(found)
