"""Loops are unrolled after vectors are made, but where vectors would hide what folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

from sparsegen.lowering.unrolling import put_off_unrolling, unroll_put_off

ROWS, LANES = 4, 8


def lowered(value: Callable[[Any, Any, Any], Any]) -> Any:
    """A function that stores value(x, row, lane), its rows unrolled and its lanes a vector."""
    x = te.placeholder((ROWS * LANES,), name="x")
    out = te.compute((ROWS, LANES), lambda row, lane: value(x, row, lane), name="out")
    sch = s_tir.Schedule(te.create_prim_func([x, out]))
    row, lane = sch.get_loops(sch.get_sblock("out"))
    sch.unroll(row)
    sch.vectorize(lane)
    t, of_loops = s_tir.transform, tirx.transform
    passes = [
        t.ConvertBlocksToOpaque(),
        t.LowerOpaqueBlock(),
        of_loops.FlattenBuffer(),
        of_loops.StmtSimplify(),
    ]
    return tvm.ir.transform.Sequential(passes)(sch.mod)


def kinds(module: Any) -> list[str]:
    """The kinds of the loops."""
    found: list[str] = []
    body = module["main"].body
    tvm_ffi.structural_walk(body, (tirx.For, lambda loop: found.append(tirx.ForKind(loop.kind).name)))
    return sorted(found)


@pytest.mark.parametrize(
    "value",
    [
        lambda x, row, lane: x[row * LANES + lane] + 1.0,
        lambda x, row, lane: x[row // 2 * LANES + row % 2 + lane],
        lambda x, row, lane: tirx.if_then_else((row & 1) == 1, x[row * LANES + lane], 0.0),
    ],
    ids=["plain", "row divided", "row chosen by number"],
)
def test_a_loop_of_vectors_is_put_off_and_taken_up(value: Callable[[Any, Any, Any], Any]) -> None:
    module = lowered(value)
    put_off = put_off_unrolling()(module)
    assert kinds(put_off) == ["SERIAL", "VECTORIZED"]
    # Nothing is unrolled, and the loop comes back as it was.
    assert tvm_ffi.structural_equal(unroll_put_off()(tirx.transform.UnrollLoop()(put_off)), module)


@pytest.mark.parametrize(
    "value",
    [
        lambda x, row, lane: x[(row * LANES + lane) // 3],
        lambda x, row, lane: x[(row * LANES + lane) % 5],
        lambda x, row, lane: tirx.if_then_else(row * LANES + lane < 13, x[row * LANES + lane], 0.0),
        lambda x, row, lane: tirx.Select(row == 1, x[lane], x[row * LANES + lane]),
    ],
    ids=["lane divided", "lane's rest", "lane compared", "row selects"],
)
def test_a_loop_whose_copies_fold_as_numbers_alone_is_unrolled_first(
    value: Callable[[Any, Any, Any], Any],
) -> None:
    module = lowered(value)
    assert kinds(put_off_unrolling()(module)) == kinds(module) == ["UNROLLED", "VECTORIZED"]
