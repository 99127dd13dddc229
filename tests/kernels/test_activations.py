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

PARAMETERS = {
    "leaky_relu": (0.1,), "clamp": (-1.5, 2.5), "pow": (1.5,), "elu": (1.5, 1.25, 2.0),
    "softplus": (2.0, 5.0), "hardshrink": (0.5,), "softshrink": (0.5,), "threshold": (0.125, 0.75),
    "piecewise": (2.0, 0.0, -1.0, 0.5, 0.5, 0.25, 2.0, 0.25),
}  # fmt: skip
WHOLE_RANGE = ("log", "log2", "log10", "log1p", "erf", "softsign", "floor")
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
    wide = np.linspace(-80, 80, 5000) if op in ("exp", "expm1", "sigmoid", "silu", "tanh", "mish") else []
    near_one = 1 + np.linspace(-1e-3, 1e-3, 2001)
    everywhere = np.concatenate([tiny, -tiny, dense, wide, near_one])
    if op in WHOLE_RANGE:
        everywhere = np.concatenate([everywhere, np.geomspace(1e-37, 3e38, 5000)])
    x = torch.from_numpy(everywhere.astype(np.float32))[None]
    actual, expected = apply(op, x, target)
    tolerance = 2e-6 if op == "gelu_tanh" else 1e-6
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=1e-37, equal_nan=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", UNARY)
def test_special_values(op, target):
    values = SPECIAL if op not in ("sin", "cos") else SPECIAL[SPECIAL.abs() != 1e30]
    actual, expected = apply(op, values[None], target)
    torch.testing.assert_close(actual, expected.float(), rtol=1e-6, atol=1e-36, equal_nan=True)


@pytest.mark.parametrize("exponent", [1.5, -1.7, 0.1, 1 / 3, 4.0, -3.0, 7.0, 20.0, -0.25])
@pytest.mark.parametrize("target", TARGETS)
def test_powers(exponent, target):
    positive = np.concatenate([np.geomspace(1e-38, 3e38, 6001), 1 + np.linspace(-1e-3, 1e-3, 2001), [1e-45]])
    x = torch.from_numpy(np.concatenate([positive, -positive, SPECIAL]).astype(np.float32))[None]
    power = Step("pow", parameters=(exponent,))
    actual = run_layer(
        one_layer(Identity(), {"x": tuple(x.shape)}, tuple(x.shape), (power,)),
        (x,),
        Setting(1, False, target),
    )
    expected = (x.double() ** exponent).float()
    torch.testing.assert_close(actual, expected, rtol=3e-7, atol=1e-38, equal_nan=True)
    zeros = (actual == 0) & (expected == 0)
    assert torch.equal(actual.signbit()[zeros], expected.signbit()[zeros])


@pytest.mark.parametrize("op", ["sin", "cos"])
def test_sine_and_cosine_of_many_turns(op):
    x = torch.from_numpy(np.concatenate([np.geomspace(1, 1e15, 20001), np.arange(2000) * np.pi / 2]))[None]
    actual, expected = apply(op, torch.cat([x, -x], 1).float(), "native")
    torch.testing.assert_close(actual.double(), expected, rtol=3e-7, atol=1e-37)
    assert apply(op, torch.full((1, 8), 3e38), "native")[0].abs().max() <= 1.0


def test_logarithms_are_exact_where_torchs_are():
    powers = torch.arange(-149.0, 128.0)
    assert torch.equal(apply("log2", torch.exp2(powers.double()).float()[None], "native")[0][0], powers)


def test_tanh_and_sigmoid_stay_in_their_range():
    x = torch.linspace(-30, 30, 60001)[None]
    assert apply("tanh", x, "native")[0].abs().max() <= 1.0
    assert apply("sigmoid", x, "native")[0].max() <= 1.0


def test_clamp_with_crossed_bounds_is_the_upper():
    graph = one_layer(Identity(), {"x": (1, 4)}, (1, 4), (Step("clamp", parameters=(2.0, -1.0)),))
    x = torch.tensor([[-3.0, 0.0, 1.0, 3.0]])
    assert torch.equal(run_layer(graph, (x,), Setting(1, batch_lanes=False)), torch.full((1, 4), -1.0))


def test_chains_of_activations_are_compiled_in_linear_time():
    """What takes time exponential in the expression's depth would not end."""
    x = torch.linspace(-3, 3, 50)[None]
    steps = tuple(step(op) for op in ("log_sigmoid", "softplus", "mish", "tanh", "log_sigmoid") * 3)
    graph = one_layer(Identity(), {"x": (1, 50)}, (1, 50), steps)
    actual = run_layer(graph, (x,), Setting(1, batch_lanes=False))
    torch.testing.assert_close(actual.double(), evaluate(graph, (x,))[0], rtol=1e-5, atol=1e-6)


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
