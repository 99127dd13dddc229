"""Our pass that stores an output too large for the caches past them.

A store of a line that no cache holds first reads the line, and pushes others out, which a tile may need
again. Stored past the caches, an output goes to memory once, and nothing is read; the next layer fetches
it from there ahead of time. For small outputs, which stay in the caches, that is slower.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import sym, tirx

from sparsegen.lowering.passes import with_body

SHARE = 8
"""A larger part of the last-level cache is streamed: measured on networks on Zen 5, 4 to 16 are level."""

_FLOAT_BYTES = 4
_IMPORT = "pragma_import_llvm"  # TVM links and inlines the functions of an attribute of this name


def stream_output(cache_bytes: int) -> Any:
    """Pass: whole vectors of an output of more than 1 / SHARE of `cache_bytes` become non-temporal stores.

    The output is the function's last parameter, whose rows and buffer begin whole vectors. Other
    stores to it, of single numbers or of vectors that may lie across two, stay as they are. Such
    stores are ordered with no others: the iterations of a parallel loop end in a fence.
    """

    def rewrite(function: Any, _mod: Any, _context: Any) -> Any:
        out = function.params[-1]
        if _FLOAT_BYTES * math.prod(int(extent) for extent in out.shape) <= cache_bytes // SHARE:
            return function
        widths: set[int] = set()

        def stream(store: Any) -> Any:
            # Flat, the output is another buffer of its name.
            lanes = _whole_vector(store) if store.buffer.name == out.name else None
            if lanes is None:
                return store
            widths.add(lanes)
            first = tirx.BufferLoad(store.buffer, [store.indices[0].base])
            return tirx.Evaluate(tirx.call_extern("void", _name(lanes), tirx.address_of(first), store.value))

        body = tvm_ffi.structural_map(function.body, (tirx.BufferStore, stream))
        if not widths:
            return function
        body = tvm_ffi.structural_map(body, (tirx.For, _fenced))
        definitions = tvm.ir.StringImm("".join([_FENCE, *map(_definition, sorted(widths)), _METADATA]))
        return function.with_body(tirx.AttrStmt(tirx.const(0, "int32"), _IMPORT, definitions, body))

    return tirx.transform.prim_func_pass(rewrite, opt_level=0)


def _whole_vector(store: Any) -> int | None:
    """The lanes of a store of one vector that begins at a multiple of them; None of any other store."""
    (index,) = store.indices
    if not isinstance(index, tirx.Ramp) or int(index.stride) != 1:
        return None
    lanes = int(index.lanes)
    return lanes if sym.Analyzer().can_prove(tirx.floormod(index.base, lanes) == 0) else None


def _fenced(loop: Any) -> Any:
    if loop.kind != tirx.ForKind.PARALLEL:
        return loop
    body = tirx.SeqStmt([loop.body, tirx.Evaluate(tirx.call_extern("void", "sparsegen_fence"))])
    return with_body(loop, body)


def _name(lanes: int) -> str:
    return f"sparsegen_stream_{lanes}"


_FENCE = """
declare void @llvm.x86.sse.sfence()
define void @sparsegen_fence() {
  call void @llvm.x86.sse.sfence()
  ret void
}
"""
_METADATA = "!0 = !{i32 1}\n"


def _definition(lanes: int) -> str:
    """LLVM's code of the function that stores a vector past the caches."""
    vector = f"<{lanes} x float>"
    return f"""
define void @{_name(lanes)}(ptr %at, {vector} %value) {{
  store {vector} %value, ptr %at, align {lanes * _FLOAT_BYTES}, !nontemporal !0
  ret void
}}
"""
