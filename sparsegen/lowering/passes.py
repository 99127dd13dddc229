"""Our own passes over TVM's loop programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.store import Store

MASKED = "sparsegen.masked"  # annotates a loop predicated on `loop_var < bound`: see `tighten_masked_loops`
_APART = "local"  # a scope of memory in which buffers share none
_HIDDEN = "sparsegen.hidden"  # a call with an effect, for all that TVM knows
REGISTERS = "registers"  # buffers whose name begins so are accumulators to keep in registers


def with_body(loop: Any, body: Any, *, without: str = "") -> Any:
    """The loop around another body, and without the annotation of this name."""
    rest = {key: value for key, value in loop.annotations.items() if key != without}
    return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, loop.thread_binding, rest)


def loads_of(body: Any, name: str) -> list[Any]:
    """The loads of the buffer of a name, in order."""
    found: list[Any] = []

    def find(load: Any) -> None:
        if load.source.name == name:
            found.append(load)

    tvm_ffi.structural_walk(body, (tvm.ir.TensorLoad, find))
    return found


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


def flatten_buffers() -> tuple[Any, ...]:
    """Passes: buffers of one dimension, as TVM's FlattenBuffer, in linear time.

    That pass simplifies the value of each let with the values of those before it in place of their names:
    time exponential in how many there are, seconds for softplus. What may have an effect it leaves alone.
    """
    transform = tirx.transform

    def hide(let: Any) -> Any:
        return tirx.Let(let.var, tirx.call_extern(str(let.var.ty), _HIDDEN, let.value), let.body)

    def show(let: Any) -> Any:
        return tirx.Let(let.var, let.value.args[1], let.body)

    def each_let(change: Callable[[Any], Any]) -> Any:
        def rewrite(function: Any, _mod: Any, _context: Any) -> Any:
            return function.with_body(tvm_ffi.structural_map(function.body, (tirx.Let, change)))

        return transform.prim_func_pass(rewrite, opt_level=0)

    return each_let(hide), transform.FlattenBuffer(), each_let(show)


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
        factor = int(loop.annotations[MASKED])
        rest = {key: value for key, value in loop.annotations.items() if key != MASKED}
        if factor > 1:
            return _unrolled(loop, extent, factor, rest)
        return tirx.For(loop.loop_var, loop.min, extent, loop.kind, loop.body, loop.thread_binding, rest)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, tighten)))


def _unrolled(loop: Any, extent: Expr, factor: int, annotations: Mapping[str, Any]) -> Any:
    """The loop with `factor` iterations in each of its own, and a loop over the rest.

    LLVM does not prove the predicate of an index made of two, so it goes here, where it is known.
    """

    def within(test: Any) -> Any:
        return tirx.const(True, "bool") if test.a.same_as(loop.loop_var) else test

    body = tvm_ffi.structural_map(loop.body, (tirx.LT, within))

    def at(index: Expr) -> Any:
        replace = (tirx.Var, lambda own: index if own.same_as(loop.loop_var) else own)
        return tvm_ffi.structural_map(body, replace)

    name, integer = loop.loop_var.name, str(loop.loop_var.ty)
    several, copy, last = (tirx.Var(f"{name}_{part}", integer) for part in ("several", "copy", "last"))
    whole = tirx.floordiv(extent, factor)
    copies = tirx.For(copy, 0, factor, tirx.ForKind.UNROLLED, at(several * factor + copy))
    rest = tirx.For(last, 0, tirx.floormod(extent, factor), loop.kind, at(whole * factor + last))
    main = tirx.For(several, 0, whole, loop.kind, copies, loop.thread_binding, annotations)
    return tirx.SeqStmt([main, rest])


def tighten_masked_loops() -> Any:
    """Pass: `for j in range(most): if j < n: ...`, annotated, becomes `for j in range(n): ...`.

    The predicates stay; once the loop's bound is `n`, LLVM proves them and drops them. An annotation
    of more than 1 is a factor: so many iterations become one, without predicates, and a second loop
    runs over the remainder. The loop may then have no predicate, and run to its end.
    """
    return tirx.transform.prim_func_pass(_tighten, opt_level=0)


def _is_of_registers(buffer: Any) -> bool:
    return bool(buffer.name.startswith(REGISTERS))


def _set_apart(function: Any, _mod: Any, _context: Any) -> Any:
    apart: dict[int, Any] = {}  # by the hash of the buffer that it stands for

    def allocate(node: Any) -> Any:
        old = node.buffer
        if not _is_of_registers(old):
            return node
        apart[hash(old)] = tirx.decl_buffer(old.shape, old.dtype, old.name, scope=_APART)
        return tirx.AllocBuffer(apart[hash(old)])

    def load(node: Any) -> Any:
        new = apart.get(hash(node.source))
        return node if new is None else tirx.BufferLoad(new, node.indices)

    def store(node: Any) -> Any:
        new = apart.get(hash(node.buffer))
        return node if new is None else tirx.BufferStore(new, node.value, node.indices)

    body = tvm_ffi.structural_map(function.body, (tirx.AllocBuffer, allocate))
    callbacks = [(tvm.ir.TensorLoad, load), (tirx.BufferStore, store)]
    return function.with_body(tvm_ffi.structural_map(body, callbacks)) if apart else function


def set_accumulators_apart() -> Any:
    """Pass: buffers named `registers...` go where TVM lets them share no memory with other buffers."""
    return tirx.transform.prim_func_pass(_set_apart, opt_level=0)


def _promote(function: Any, _mod: Any, _context: Any) -> Any:
    slots: dict[int, dict[int, Any]] = {}  # of each buffer, by its hash: the register of every element

    def collect(node: Any) -> None:
        if _is_of_registers(node.buffer):
            slots[hash(node.buffer)] = {}

    def register(buffer: Any, index: Any) -> Any | None:
        """The buffer of one vector, or number, that stands for what a register buffer has at an index."""
        own = slots.get(hash(buffer))
        if own is None:
            return None
        vector = isinstance(index, tirx.Ramp)
        first, lanes = (int(index.base), int(index.lanes)) if vector else (int(index), 1)
        if first not in own:
            kind = f"{buffer.dtype}x{lanes}" if vector else str(buffer.dtype)
            own[first] = tirx.decl_buffer((1,), kind, f"{buffer.name}_{first // lanes}", scope="global")
        return own[first]

    def load(node: Any) -> Any:
        new = register(node.source, node.indices[0])
        return node if new is None else tirx.BufferLoad(new, [0])

    def store(node: Any) -> Any:
        new = register(node.buffer, node.indices[0])
        return node if new is None else tirx.BufferStore(new, node.value, [0])

    def allocate(node: Any) -> Any:
        own = slots.get(hash(node.buffer))
        if own is None:
            return node
        allocations = [tirx.AllocBuffer(each) for each in own.values()]
        return tirx.SeqStmt(allocations) if len(allocations) != 1 else allocations[0]

    tvm_ffi.structural_walk(function.body, (tirx.AllocBuffer, collect))
    if not slots:
        return function
    body = tvm_ffi.structural_map(function.body, [(tvm.ir.TensorLoad, load), (tirx.BufferStore, store)])
    return function.with_body(tvm_ffi.structural_map(body, (tirx.AllocBuffer, allocate)))


def accumulators_to_registers() -> Any:
    """Pass: a buffer named `registers...`, indexed by constants alone, becomes one buffer a vector of it.

    TVM gives any buffer of 1,024 bytes or more to its workspace allocator, and LLVM cannot promote those.
    Buffers of one vector go to the stack, and from there to registers. They are not "local": TVM puts no
    such buffers on the stack.
    """
    return tirx.transform.prim_func_pass(_promote, opt_level=0)


def _without_checks(function: Any, _mod: Any, _context: Any) -> Any:
    nothing = tirx.Evaluate(0)
    return function.with_body(tvm_ffi.structural_map(function.body, [(tirx.AssertStmt, lambda _: nothing)]))


def drop_argument_checks() -> Any:
    """Pass: a function takes its arguments for what they should be, as whoever binds them sees to that.

    TVM checks the type, shape, strides and place of each in a thousand instructions a kernel, which take LLVM
    longer than most kernels do.
    """
    return tirx.transform.prim_func_pass(_without_checks, opt_level=0)
