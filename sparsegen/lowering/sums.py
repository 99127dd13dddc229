"""Our pass that begins and ends sums over blocks where they are added to."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from sparsegen.lowering.passes import REGISTERS, with_body

SUMS = "sparsegen.sums"  # annotates three loops, by role: "blocks", in it "visit", after it "finish"
_SUMS = "sums"  # the buffer's name


def finish_in_visits() -> Any:
    """Pass: the visits of the first block write the sums, and those of the last finish them.

    Before, sums are zeroed, every visit of every block adds its registers to them, and the loop annotated
    "finish" makes outputs of them. After, the first block's visits write their registers, and the last
    one's add the sums to these and make outputs of them. Outputs leave the core while it computes, and
    two of the passes over the sums are saved.

    There are at least two blocks.
    """
    return tirx.transform.prim_func_pass(_rewrite, opt_level=0)


def _rewrite(function: Any, _mod: Any, _context: Any) -> Any:
    body = tvm_ffi.structural_map(function.body, (tirx.For, _at_least_two))
    return function.with_body(tvm_ffi.structural_map(body, (tirx.SeqStmt, _merge)))


def _at_least_two(loop: Any) -> Any:
    """The loop over blocks so that LLVM knows: it would make code for none, too."""
    if _role(loop) != "blocks":
        return loop
    extent, rest = tirx.max(loop.extent, 2), loop.annotations
    return tirx.For(loop.loop_var, loop.min, extent, loop.kind, loop.body, loop.thread_binding, rest)


def _role(statement: Any) -> str:
    return str(statement.annotations.get(SUMS, "")) if isinstance(statement, tirx.For) else ""


def _merge(sequence: Any) -> Any:
    """The statements around a loop over blocks without those that zero the sums and finish them."""
    roles = {_role(statement): statement for statement in sequence}
    if not {"blocks", "finish"} <= roles.keys():
        return sequence
    blocks, finish = roles["blocks"], roles["finish"]

    def finishing(loop: Any) -> Any:
        return _visit(loop, blocks, finish) if _role(loop) == "visit" else loop

    merged = with_body(blocks, tvm_ffi.structural_map(blocks.body, (tirx.For, finishing)), without=SUMS)
    kept = [each for each in sequence if each.same_as(blocks) or not (_zeroes(each) or each.same_as(finish))]
    return tirx.SeqStmt([merged if each.same_as(blocks) else each for each in kept])


def _visit(visit: Any, blocks: Any, finish: Any) -> Any:
    """A visit that ends in one of three ways, for the first block, those between, and the last."""
    *computed, update = visit.body
    added: list[Any] = []
    tvm_ffi.structural_walk(update, (tirx.BufferStore, added.append))
    registers = added[0].value.b
    assert registers.source.name.startswith(REGISTERS)
    # Read from a variable, the sums' address is no expression that TVM would share between the three
    # ways, element by element, in more registers than there are.
    at = tirx.decl_buffer((1,), str(visit.loop_var.ty), f"{REGISTERS}_visit", scope="local")

    def placed(variable: Any) -> Any:
        return tirx.BufferLoad(at, [0]) if variable.same_as(visit.loop_var) else variable

    def written(store: Any) -> Any:
        return tirx.BufferStore(store.buffer, store.value.b, store.indices)

    def gathered(store: Any) -> Any:
        return tirx.BufferStore(store.value.b.source, store.value, store.value.b.indices)

    def held(load: Any) -> Any:
        """Registers in place of sums: both end in axes of pixels down and across, rows and lanes."""
        if load.source.name != _SUMS:
            return load
        *outer, _, _, _, _ = registers.indices
        return tirx.BufferLoad(registers.source, [*outer, *list(load.indices)[-4:]])

    def of_visit(variable: Any) -> Any:
        return visit.loop_var if variable.same_as(finish.loop_var) else variable

    update = tvm_ffi.structural_map(update, (tirx.Var, placed))
    first, total = (tvm_ffi.structural_map(update, (tirx.BufferStore, each)) for each in (written, gathered))
    out = tvm_ffi.structural_map(finish.body, [(tvm.ir.TensorLoad, held), (tirx.Var, of_visit)])
    later = tirx.IfThenElse(blocks.loop_var < blocks.extent - 1, update, tirx.SeqStmt([total, out]))
    way = tirx.IfThenElse(blocks.loop_var < 1, first, later)
    begun = [tirx.AllocBuffer(at), tirx.BufferStore(at, visit.loop_var, [0])]
    return with_body(visit, tirx.SeqStmt([*computed, *begun, way]), without=SUMS)


def _zeroes(statement: Any) -> bool:
    """Whether a statement stores sums."""
    stores: list[Any] = []
    tvm_ffi.structural_walk(statement, (tirx.BufferStore, stores.append))
    return any(store.buffer.name == _SUMS for store in stores)
