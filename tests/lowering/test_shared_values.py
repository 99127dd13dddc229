"""Shared values become buffers, in an order that computes each before its use, and not past a guard."""

from __future__ import annotations

import numpy as np
import torch
import tvm_ffi
from tvm import s_tir, te, tirx

from sparsegen.kernels.mathematics import constant, gelu, shared
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.lowering.shared_values import shared_values_to_registers
from sparsegen.target import parse_target

SIZE = 40


class Everything:
    shape = (SIZE,)

    def __call__(self, point, parameters):
        return point, None


def lowered(element, length=SIZE):
    x = te.placeholder((length,), name="x")
    function = te.create_prim_func([x, te.compute((SIZE,), lambda i: element(x, i), name="out")])
    return lower(s_tir.Schedule(function).mod, Everything(), (SIZE,))


def lets(module):
    found = []
    tvm_ffi.structural_walk(module["main"].body, (tirx.Let, found.append))
    return found


def run(module, x):
    out = torch.zeros(SIZE)
    generate(module, parse_target())["main"](x, out)
    return out


def nested(value, depth):
    return value if depth == 0 else shared(nested(value, depth - 1), lambda v: v * v + v * constant(0.5))


def test_nested_values_take_no_exponential_time():
    module = lowered(lambda x, i: nested(x[i], 40))
    assert len(lets(module)) == 40
    assert not lets(shared_values_to_registers()(module))
    assert torch.equal(run(module, torch.zeros(SIZE)), torch.zeros(SIZE))


def test_values_made_of_others_in_value_and_body():
    def element(x, i):
        outer = shared(x[i] + constant(1.0), lambda a: shared(a * a, lambda b: a + b))
        return shared(outer, lambda c: c * c - shared(c, lambda d: d * constant(2.0)))

    x = torch.from_numpy(np.linspace(-2, 2, SIZE, dtype=np.float32)).clone()
    a = x + 1
    c = a + a * a
    torch.testing.assert_close(run(lowered(element), x), c * c - 2 * c)


def test_a_guarded_value_is_computed_in_its_branch():
    def element(x, i):
        return tirx.if_then_else(i < 10, gelu(x[i * 1000]), constant(0.0))

    module = lowered(element, length=9001)
    rewritten = shared_values_to_registers()(module)
    assert not lets(rewritten)
    assert "if i" in rewritten.script()
    x = torch.ones(9001)
    expected = torch.where(torch.arange(SIZE) < 10, torch.nn.functional.gelu(torch.ones(())), torch.zeros(()))
    torch.testing.assert_close(run(module, x), expected)


def test_a_guard_inside_an_expression_keeps_its_values():
    def element(x, i):
        guarded = tirx.if_then_else(i < 10, shared(x[i * 1000], lambda v: v * v), constant(0.0))
        return shared(guarded, lambda v: v + v)

    module = lowered(element, length=9001)
    assert len(lets(shared_values_to_registers()(module))) == 1
    x = torch.full((9001,), 3.0)
    assert torch.equal(run(module, x), torch.where(torch.arange(SIZE) < 10, 18.0, 0.0))
