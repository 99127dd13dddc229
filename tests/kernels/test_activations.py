"""Every activation: its error, its special values, its code."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from sparsegen.graph import UNARY, Identity, Layer, Step
from sparsegen.kernels.operands import Value
from sparsegen.kernels.registry import Context, build_kernel
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.target import parse_target
from tests.kernels.harness import Setting, one_layer, run_layer
from tests.reference import evaluate

PARAMETERS = {"leaky_relu": (0.1,), "clamp": (-1.5, 2.5)}
SPECIAL = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e30, -1e30, 88.9, -88.9, 105.0, -105.0])
TARGETS = ["native", "haswell"]


def step(op):
    return Step(op, parameters=PARAMETERS.get(op, ()))


def apply(op, x, target):
    graph = one_layer(Identity(), {"x": tuple(x.shape)}, tuple(x.shape), (step(op),))
    return run_layer(graph, (x,), Setting(len(x), batch_lanes=False, target=target)), evaluate(graph, (x,))[0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", UNARY)
def test_relative_error(op, target):
    tiny = np.geomspace(1e-30, 1, 3000)
    dense = np.linspace(-5, 20, 20000)
    wide = np.linspace(-80, 80, 5000) if op in ("exp", "sigmoid", "silu", "tanh") else []
    x = torch.from_numpy(np.concatenate([tiny, -tiny, dense, wide]).astype(np.float32))[None]
    actual, expected = apply(op, x, target)
    tolerance = 2e-6 if op == "gelu_tanh" else 1e-6
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=1e-37, equal_nan=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", UNARY)
def test_special_values(op, target):
    actual, expected = apply(op, SPECIAL[None], target)
    torch.testing.assert_close(actual, expected.float(), rtol=1e-6, atol=1e-36, equal_nan=True)


def test_tanh_and_sigmoid_stay_in_their_range():
    x = torch.linspace(-30, 30, 60001)[None]
    assert apply("tanh", x, "native")[0].abs().max() <= 1.0
    assert apply("sigmoid", x, "native")[0].max() <= 1.0


def test_clamp_with_crossed_bounds_is_the_upper():
    graph = one_layer(Identity(), {"x": (1, 4)}, (1, 4), (Step("clamp", parameters=(2.0, -1.0)),))
    x = torch.tensor([[-3.0, 0.0, 1.0, 3.0]])
    assert torch.equal(run_layer(graph, (x,), Setting(1, batch_lanes=False)), torch.full((1, 4), -1.0))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch", [16, 1])
def test_code_is_vectors_without_calls(batch, target):
    setting = Setting(batch, batch_lanes=batch > 1, target=target)
    shape = (batch, 4, 64)
    sums = (Step("mul", 0.3), Step("add", 0.1), Step("sub", "x"))  # whose order and roundings are torch's
    layer = Layer("result", Identity(), ("x",), shape, (*map(step, UNARY), *sums))
    operands = {name: Value(name, setting.layout(shape)) for name in ("x", "result")}
    kernel = build_kernel(layer, Context(operands, parse_target(target), threads=1))
    lowered = lower(kernel.module, kernel.store, kernel.store.shape)
    generated = generate(lowered, parse_target(target))
    assembly = generated.inspect_source("asm")
    assert not re.findall(r"call\S*\s+\S*(?:exp|tanh|erf|log|pow)\S*", assembly)
    packed, scalar = (
        len(re.findall(rf"\tvf?n?m(?:ul|add|sub)\d*{kind}\s", assembly)) for kind in ("ps", "ss")
    )
    assert packed > 20
    assert batch == 1 or scalar == 0
    assert not re.findall(
        r" = f(?:add|sub|mul|div|cmp) (?:fast|nnan|ninf|nsz|reassoc|contract|arcp)",
        generated.inspect_source("ll"),
    )
