"""Loops written out, statement by statement: for kernels that no expression describes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tvm import tirx

from sparsegen.lowering.expressions import Expr, IntExpr

Body = Callable[[Expr], Any]


def loop(
    name: str, extent: IntExpr, body: Body, *, first: IntExpr = 0, kind: Any = tirx.ForKind.SERIAL
) -> Any:
    """The statement that runs `body(i)` for `extent` values of i, from the `first` on."""
    variable = tirx.Var(name, "int32")
    return tirx.For(variable, first, extent, kind, body(variable))


def sequence(statements: Iterable[Any]) -> Any:
    """One statement of some, at least one."""
    held = list(statements)
    return held[0] if len(held) == 1 else tirx.SeqStmt(held)
