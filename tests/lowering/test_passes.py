"""Masked loops run over what their predicate lets through, in steps of any size."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import tvm_ffi
from hypothesis import given
from hypothesis import strategies as st
from tvm import s_tir, te, tirx

from sparsegen.lowering.passes import MASKED
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.target import parse_target
from tests.sampling import examples

ROWS, MOST = 5, 11


class Everything:
    shape = (ROWS,)

    def __call__(self, point, parameters):
        return point, None


@functools.cache
def sums(factor, predicate=True, most=MOST):
    """A function of x [ROWS, most] and lengths: the sum of each row's first ones, or of all."""
    x, lengths = te.placeholder((ROWS, most), name="x"), te.placeholder((ROWS,), "int32", name="lengths")
    j = te.reduce_axis((0, most), name="j")

    def total(i):
        return te.sum(tirx.if_then_else(j < lengths[i], x[i, j], 0.0) if predicate else x[i, j], axis=j)

    totals = te.compute((ROWS,), total, name="totals")
    out = te.compute((ROWS,), lambda i: totals[i], name="out")
    sch = s_tir.Schedule(te.create_prim_func([x, lengths, out]))
    block = sch.get_sblock("totals")
    loop = sch.get_loops(block)[-1]
    sch.annotate(loop, MASKED, factor)
    sch.decompose_reduction(block, loop)
    return lower(sch.mod, Everything(), (ROWS,))


@functools.cache
def compiled(*point):
    return generate(sums(*point), parse_target())["main"]


def found(module, kind):
    nodes = []
    tvm_ffi.structural_walk(module["main"].body, (kind, nodes.append))
    return nodes


@examples(60)
@given(
    factor=st.sampled_from([1, 2, 4]),
    most=st.sampled_from([1, 4, MOST]),
    seed=st.integers(0, 1000),
)
def test_loops_stop_at_their_bound_whatever_the_remainder(factor, most, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, most + 1, ROWS).astype(np.int32)
    lengths[rng.integers(ROWS)] = 0
    x, out = rng.standard_normal((ROWS, most)).astype(np.float32), torch.full((ROWS,), 9.0)
    compiled(factor, True, most)(torch.from_numpy(x), torch.from_numpy(lengths), out)
    expected = [row[:length].sum(dtype=np.float64) for row, length in zip(x, lengths, strict=True)]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("most", [1, 2, 8, MOST])
def test_a_loop_without_a_predicate_runs_to_its_end(factor, most):
    x, out = torch.arange(ROWS * most, dtype=torch.float32).view(ROWS, most), torch.empty(ROWS)
    compiled(factor, False, most)(x, torch.zeros(ROWS, dtype=torch.int32), out)
    assert torch.equal(out, x.sum(1))


@pytest.mark.parametrize("factor", [2, 4])
def test_no_predicate_is_left_in_a_loop_of_several_iterations(factor):
    assert not found(sums(factor), tirx.LT)
    assert found(sums(1), tirx.LT)
    (copies,) = (loop for loop in found(sums(factor), tirx.For) if loop.kind == tirx.ForKind.UNROLLED)
    assert copies.extent == factor
