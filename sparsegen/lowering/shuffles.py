"""Our pass that reads lanes which lie apart in memory by whole vectors, and shuffles these.

LLVM finds few such shuffles among loads of single numbers. It stores number after number instead, and a
vector that is loaded from there waits for all of them.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import sym, tirx

from sparsegen.lowering.expressions import Expr

SHUFFLED = "sparsegen.shuffled"  # annotates a loop of lanes, which copies from places at known distances
_Part = tuple[Expr, dict[int, int]]  # a vector, and which lanes of the result are which of it


def shuffle_lanes() -> Any:
    """Pass: `for lane in vectorized(lanes): to[a + lane] = read[b(lane)]`, annotated, becomes a shuffle.

    The lanes that are read have to lie at distances known here, the first one so far past a multiple of the
    number of lanes as is known here. The buffer is one of whole vectors, all of which may be read.
    """

    def rewrite(function: Any, _mod: Any, _context: Any) -> Any:
        return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, _shuffled)))

    return tirx.transform.prim_func_pass(rewrite, opt_level=0)


def joins(vectors: int) -> int:
    """How many shuffles make one vector of lanes of so many."""
    count = 0
    while vectors > 1:
        vectors = -(-vectors // 2)
        count += vectors
    return max(1, count)


def _shuffled(loop: Any) -> Any:
    if SHUFFLED not in loop.annotations:
        return loop
    lanes, load, simplify = int(loop.extent), loop.body.value, sym.Analyzer().simplify

    def at(index: Any, lane: int) -> Any:
        replace = (tirx.Var, lambda own: tirx.const(lane, "int32") if own.same_as(loop.loop_var) else own)
        return simplify(tvm_ffi.structural_map(index, replace))

    (read,), (written,) = load.indices, loop.body.indices
    first = at(read, 0)
    apart = [int(simplify(at(read, lane) - first)) for lane in range(lanes)]
    begin = _past_whole(first, lanes)
    value = _gathered(load.source, first - begin, [begin + each for each in apart])
    return tirx.BufferStore(loop.body.buffer, value, [tirx.Ramp(at(written, 0), 1, lanes)])


def _past_whole(index: Expr, lanes: int) -> int:
    """How far past a multiple of the lanes an index is."""
    known = sym.Analyzer().modular_set(index)
    assert int(known.coeff) % lanes == 0, f"{index} is at no known distance from whole vectors of {lanes}"
    return int(known.base) % lanes


def _gathered(buffer: Any, start: Expr, places: list[int]) -> Expr:
    """A vector of what lies at places after `start`: from whole vectors, two at a time."""
    lanes, of_vectors = len(places), dict[int, dict[int, int]]()
    for lane, place in enumerate(places):
        of_vectors.setdefault(place // lanes, {})[lane] = place % lanes
    parts: list[_Part] = [
        (tirx.BufferLoad(buffer, [tirx.Ramp(start + number * lanes, 1, lanes)]), wanted)
        for number, wanted in sorted(of_vectors.items())
    ]
    while len(parts) > 1 or any(lane != at for lane, at in parts[0][1].items()):
        parts = [_joined(parts[i : i + 2], lanes) for i in range(0, len(parts), 2)]
    return parts[0][0]


def _joined(parts: list[_Part], lanes: int) -> _Part:
    """One or two parts as one, what is wanted of them at its lane; the other lanes hold anything."""
    chosen = {
        lane: number * lanes + at for number, (_, wanted) in enumerate(parts) for lane, at in wanted.items()
    }
    order = [tirx.const(chosen.get(lane, lane), "int32") for lane in range(lanes)]
    return tirx.Shuffle([vector for vector, _ in parts], order), {lane: lane for lane in chosen}
