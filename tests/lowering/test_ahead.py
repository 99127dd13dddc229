"""Addresses are read ahead: the same are used, and LLVM leaves them where they are read."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import torch
from tvm import s_tir, te, tirx

from sparsegen.lowering.ahead import AHEAD, DEPTH
from sparsegen.lowering.passes import MASKED
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.target import parse_target

ROWS, MOST = 5, 9
NOWHERE = 1 << 30


class Everything:
    shape = (ROWS,)

    def __call__(self, point, parameters):
        return point, None


@functools.cache
def compiled(factor):
    """The sum, for every row, of x at the first `lengths` of its MOST addresses."""
    x = te.placeholder((te.var("elements"),), name="x")
    addresses = te.placeholder((te.var("addresses"),), "int32", name="addresses")
    lengths = te.placeholder((ROWS,), "int32", name="lengths")
    j = te.reduce_axis((0, MOST), name="j")

    def total(i):
        read = tirx.if_then_else(j < lengths[i], x[addresses[i * MOST + j]], 0.0)
        return te.sum(read, axis=j)

    totals = te.compute((ROWS,), total, name="registers")
    out = te.compute((ROWS,), lambda i: totals[i], name="out")
    sch = s_tir.Schedule(te.create_prim_func([x, addresses, lengths, out]))
    block = sch.get_sblock("registers")
    (rows,) = sch.get_loops(sch.get_sblock("out"))
    sch.compute_at(block, rows)
    loop = sch.get_loops(block)[-1]
    sch.annotate(loop, MASKED, factor)
    sch.annotate(loop, AHEAD, "addresses")
    sch.decompose_reduction(block, loop)
    return generate(lower(sch.mod, Everything(), (ROWS,)), parse_target())


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("lengths", [(0, 1, 2, 3, MOST), (MOST, 0, 0, 5, 4), (7, 8, 6, 1, 0)])
def test_every_address_is_used_once_and_none_past_the_last(factor, lengths):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(50).astype(np.float32)
    addresses = np.full(ROWS * MOST + DEPTH, NOWHERE, np.int32)
    for row, length in enumerate(lengths):
        addresses[row * MOST : row * MOST + length] = rng.integers(0, len(x), length)
    arguments = (x, addresses, np.array(lengths, np.int32), np.full(ROWS, 9, np.float32))
    out = torch.from_numpy(arguments[-1])
    compiled(factor)["main"](*map(torch.from_numpy, arguments[:-1]), out)
    starts = range(0, ROWS * MOST, MOST)
    expected = [
        x[addresses[start : start + length]].sum(dtype=np.float64)
        for start, length in zip(starts, lengths, strict=True)
    ]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-5)


def test_what_is_read_ahead_stays_in_registers_from_one_iteration_to_the_next():
    code = compiled(1).inspect_source("ll")
    assert re.search(r"%registers_ahead\S* = phi i32", code) or re.search(r"= phi <\d x i32>", code)
    assert not re.search(r"%registers_ahead\S* = phi ptr", code)
