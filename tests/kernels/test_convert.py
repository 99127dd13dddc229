"""The graph's edges: dense tensors in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.kernels.convert import enter, leave
from sparsegen.kernels.operands import Value
from tests.kernels.harness import (
    UNTOUCHED,
    Setting,
    aligned,
    check_outside,
    compiled,
    packed,
    random_tensor,
    unpacked,
)
from tests.kernels.strategies import FEW, any_setting, extents

ROW = st.one_of(extents(1, 40), st.just(64))
INNER = st.one_of(
    st.just([]), st.tuples(st.lists(extents(1, 9), max_size=3), ROW).map(lambda p: [*p[0], p[1]])
)


@FEW
@given(any_setting(), INNER, st.sampled_from([0, 1, 4, 7]))
def test_enter_from_any_address(setting, inner, offset):
    shape = (setting.batch, *inner)
    layout, x = setting.layout(shape), random_tensor((setting.batch, *inner))
    kernel = enter("x", layout)
    out = aligned(np.full(kernel.store.shape, UNTOUCHED, np.float32))
    room = torch.empty(x.numel() + offset)
    dense = room[offset:].copy_(x.view(-1))
    compiled(kernel, setting)(dense, out)
    check_outside(out.numpy(), layout)
    assert np.array_equal(unpacked(out.numpy(), layout), x.numpy())


@FEW
@given(any_setting(), INNER)
def test_leave(setting, inner):
    shape = (setting.batch, *inner)
    layout, x = setting.layout(shape), random_tensor((setting.batch, *inner))
    kernel = leave(Value("x", layout))
    room = torch.full((kernel.store.shape[0] + 64,), float(UNTOUCHED))
    dense = room[: kernel.store.shape[0]]
    compiled(kernel, setting)(packed(x.numpy(), layout), dense)
    assert torch.equal(dense.view(shape), x)
    assert torch.all(room[len(dense) :] == float(UNTOUCHED)), "lanes past the batch were stored"


@pytest.mark.parametrize("target", ["native", "haswell"])
def test_a_scalar(target):
    setting = Setting(1, batch_lanes=False, target=target)
    layout = setting.layout(())
    kernel = enter("x", layout)
    out = aligned(np.zeros(kernel.store.shape, np.float32))
    compiled(kernel, setting)(torch.tensor([3.0]), out)
    assert unpacked(out.numpy(), layout) == 3.0
