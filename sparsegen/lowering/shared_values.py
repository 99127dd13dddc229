"""Our pass that keeps `Let` from the code generator."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from sparsegen.lowering.expressions import Expr

_GUARD = tvm.ir.Op.get("prim.if_then_else")  # it evaluates one of its branches alone


def shared_values_to_registers() -> Any:
    """Pass: a value that an expression shares by a `Let` becomes a buffer of one element.

    LLVM turns these into registers. The code generator would replace a variable by its value in every
    later simplification, which takes exponential time where one shared value is made of others.
    """
    return tirx.transform.prim_func_pass(_rewrite, opt_level=0)


def _rewrite(function: Any, _mod: Any, _context: Any) -> Any:
    if not _lets(function.body):
        return function
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.BufferStore, _store)))


def _store(node: Any) -> Any:
    """The store, its shared values computed before it, each once."""
    if not _lets(node.value):
        return node
    if _is_guard(node.value):  # what a branch reads may not exist where the other is taken
        condition, *branches = node.value.args
        held, other = (_store(tirx.BufferStore(node.buffer, branch, node.indices)) for branch in branches)
        return tirx.IfThenElse(condition, held, other)
    lets = _Hoisted(node.value)
    flat = tvm_ffi.structural_map(node.value, (tirx.Let, lets.collect))
    stored = tirx.BufferStore(node.buffer, lets.loaded(flat), node.indices)
    return tirx.SeqStmt([*lets.statements(), stored])


def _is_guard(value: Expr) -> bool:
    return isinstance(value, tvm.ir.Call) and value.op.same_as(_GUARD)


def _lets(code: Any) -> list[Any]:
    """All bindings in an expression, or a statement's expressions."""
    found: list[Any] = []
    tvm_ffi.structural_walk(code, (tirx.Let, found.append))
    return found


class _Hoisted:
    """The shared values of one expression, and the buffers that take them; guarded ones stay."""

    def __init__(self, expression: Expr) -> None:
        self.bindings: list[tuple[Any, Expr, Any]] = []  # variable, value, buffer
        self._guarded: list[Any] = []

        def find_guarded(call: Any) -> None:
            if _is_guard(call):
                self._guarded += [let.var for let in _lets(call)]

        tvm_ffi.structural_walk(expression, (tvm.ir.Call, find_guarded))

    def collect(self, let: Any) -> Any:
        """Record a binding, for which its body stands from now on."""
        if any(let.var.same_as(variable) for variable in self._guarded):
            return let
        if all(not let.var.same_as(variable) for variable, _, _ in self.bindings):
            buffer = tirx.decl_buffer((1,), str(let.var.ty), let.var.name, scope="global")
            self.bindings.append((let.var, let.value, buffer))
        return let.body

    def loaded(self, value: Expr) -> Expr:
        """The value with loads in place of the variables."""

        def load(variable: Any) -> Any:
            buffers = (buffer for own, _, buffer in self.bindings if own.same_as(variable))
            return next((tirx.BufferLoad(buffer, [0]) for buffer in buffers), variable)

        loaded: Expr = tvm_ffi.structural_map(value, (tirx.Var, load))
        return loaded

    def statements(self) -> list[Any]:
        """Allocations and stores of the buffers, a value after those that it is made of."""
        ordered: list[Any] = []

        def emit(binding: tuple[Any, Expr, Any]) -> None:
            _, value, buffer = binding
            if any(buffer.same_as(done.buffer) for done in ordered):
                return
            for other in self.bindings:
                if _mentions(value, other[0]):
                    emit(other)
            ordered.extend([tirx.AllocBuffer(buffer), tirx.BufferStore(buffer, self.loaded(value), [0])])

        for binding in self.bindings:
            emit(binding)
        return ordered


def _mentions(value: Expr, variable: Any) -> bool:
    found: list[Any] = []
    tvm_ffi.structural_walk(
        value, (tirx.Var, lambda own: found.append(own) if own.same_as(variable) else None)
    )
    return bool(found)
