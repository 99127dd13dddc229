"""Pointwise layers: broadcast operands, on either side of every operator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import BINARY, Identity, Layer, LayerGraph, Step
from tests.kernels.harness import Setting, assert_matches, one_layer, run_layer
from tests.kernels.strategies import FEW, any_setting, extents


@FEW
@given(any_setting(), st.lists(extents(), max_size=4), st.sampled_from(BINARY), st.booleans(), st.data())
def test_values_broadcast(setting, inner, op, reverse, data):
    shape = (setting.batch, *inner)
    operand = shape[:1] + tuple(data.draw(st.sampled_from([1, extent])) for extent in inner)
    if not setting.batch_lanes:
        operand = (data.draw(st.sampled_from([1, setting.batch])), *operand[1:])
        operand = operand[data.draw(st.integers(0, len(operand) - 1)) :]
    steps = (Step("abs"), Step("add", 1.0), Step(op, "other", reverse=reverse))
    assert_matches(one_layer(Identity(), {"x": shape, "other": operand}, shape, steps), setting)


@FEW
@given(any_setting(), st.lists(extents(), max_size=4), st.sampled_from(BINARY), st.data())
def test_constants_broadcast(setting, inner, op, data):
    shape = (setting.batch, *inner)
    constant = (1, *(data.draw(st.sampled_from([1, extent])) for extent in inner))
    constant = constant[data.draw(st.integers(0, len(constant))) :]
    array = np.random.default_rng(0).uniform(1.0, 2.0, size=constant).astype(np.float32)
    steps = (Step(op, "c"), Step("mul", -0.5), Step("sub", 2.0, reverse=True))
    assert_matches(one_layer(Identity(), {"x": shape}, shape, steps, {"c": np.asarray(array)}), setting)


@pytest.mark.parametrize(("batch", "batch_lanes"), [(16, True), (3, False)])
def test_a_constant_becomes_a_value(batch, batch_lanes):
    constant = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    shape = (batch, 4, 5)
    layer = Layer("result", Identity(), ("c",), shape, (Step("add", "x"),))
    graph = LayerGraph({"x": shape}, [layer], ("result",), {"c": constant})
    x = torch.ones(shape)
    result = run_layer(graph, (x,), Setting(batch, batch_lanes))
    assert torch.equal(result, torch.from_numpy(constant) + x)
