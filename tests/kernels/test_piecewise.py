"""Piecewise linear steps: their error near and far, special values, and the code that they take."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsegen.graph import Identity, Layer, Piecewise, Step
from sparsegen.kernels.operands import Value
from sparsegen.kernels.piecewise import operations, symmetry
from sparsegen.kernels.registry import Context, build_kernel
from sparsegen.lowering.layout import Halo, plan_layout
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.target import parse_target
from sparsegen.torch_graph.steps import step_function
from tests.kernels.harness import Setting, one_layer, run_layer
from tests.reference import evaluate_step

INF = math.inf
TARGETS = ["native", "haswell"]
PLAIN = Piecewise(0.25, 0.0, (-4.1, -1.3, 0.7, 2.9), (-0.09, 0.6, 0.55, -0.06))  # to x, as Mish
FALLING = Piecewise(1.0, -0.75, (-2.0, 0.5, 3.0), (0.5, 0.35, -0.2))
EVEN = Piecewise(0.01, 0.0, (-3.2, -0.7, 0.0, 0.7, 3.2), (-0.1, 0.55, 0.1, 0.55, -0.1))  # to x, as GELU
ODD = Piecewise(-1.14, 0.0, (-2.4, -0.6, 0.6, 2.4), (0.3, 0.7, -0.7, -0.3))  # level on both sides, as tanh
HINGE = Piecewise(0.5, -0.25, (1.25,), (1.0,))
FUNCTIONS = {"plain": PLAIN, "falling": FALLING, "even": EVEN, "odd": ODD, "hinge": HINGE}


def step(function: Piecewise) -> Step:
    return Step("piecewise", parameters=function.parameters)


def run(function: Piecewise, x: Tensor, target: str) -> Tensor:
    graph = one_layer(Identity(), {"x": (1, len(x))}, (1, len(x)), (step(function),))
    return run_layer(graph, (x[None],), Setting(1, batch_lanes=False, target=target))[0]


def expected(function: Piecewise, x: Tensor) -> Tensor:
    return evaluate_step(step(function), x.double(), {})


def test_symmetry_is_seen() -> None:
    found = {name: symmetry(function) for name, function in FUNCTIONS.items()}
    assert found == {"plain": None, "falling": None, "even": "even", "odd": "odd", "hinge": None}
    tilted = Piecewise(0.0, 0.5, ODD.knots, ODD.bends)
    assert symmetry(tilted) is None  # its tails are not level
    assert symmetry(Piecewise(0.0, 0.0, ODD.knots, (1.0, 2.0, 3.0, 4.0))) is None


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_near_and_far(name: str, target: str) -> None:
    function = FUNCTIONS[name]
    near = torch.linspace(-6, 6, 4001)
    actual = run(function, near, target).double()
    torch.testing.assert_close(actual, expected(function, near), rtol=0, atol=1e-6)
    far = torch.from_numpy(np.geomspace(6, 3e38, 500).astype(np.float32))
    far = torch.cat([far, -far])
    actual = run(function, far, target).double()
    torch.testing.assert_close(actual, expected(function, far), rtol=2e-7, atol=5e-7)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("function", "low", "high"),
    [(PLAIN, 0.25, INF), (FALLING, INF, -INF), (EVEN, 0.01, INF), (ODD, -1.14, 1.14), (HINGE, INF, INF)],
)
def test_infinities_and_nan(function: Piecewise, low: float, high: float, target: str) -> None:
    special = torch.tensor([-INF, INF, math.nan])
    for actual in (
        run(function, special, target),
        step_function(step(function), in_place=False)(special, None),
    ):
        torch.testing.assert_close(actual, torch.tensor([low, high, math.nan]), equal_nan=True)


@st.composite
def functions(draw: st.DrawFn) -> Piecewise:
    """Any, and those of either symmetry."""
    eighths = st.integers(-40, 40).map(lambda n: n / 8)
    knots = sorted(draw(st.sets(st.integers(1, 80).map(lambda n: n / 16), min_size=1, max_size=7)))
    bends = [draw(eighths) for _ in knots]
    kind = draw(st.sampled_from(("plain", "even", "odd")))
    if kind == "plain":
        return Piecewise(draw(eighths), draw(eighths), tuple(knot - 2.5 for knot in knots), tuple(bends))
    sign = 1 if kind == "even" else -1
    mirrored = [sign * bend for bend in reversed(bends)]
    both = (*(-knot for knot in reversed(knots)), *knots)
    return Piecewise(draw(eighths), draw(eighths) if kind == "even" else 0.0, both, (*mirrored, *bends))


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(function=functions())
def test_any_function(function: Piecewise) -> None:
    x = torch.cat([torch.linspace(-7, 7, 500), torch.tensor([0.0, -0.0, 1e6, -1e6, INF, -INF, math.nan])])
    scale = 1 + max(map(abs, function.bends)) * len(function.bends) + abs(function.slope)
    wanted = expected(function, x)
    for actual in (run(function, x, "haswell"), step_function(step(function), in_place=False)(x, None)):
        torch.testing.assert_close(actual.double(), wanted, rtol=3e-7, atol=2e-6 * scale, equal_nan=True)


@pytest.mark.parametrize("target", ["haswell", "skylake-avx512"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_are_the_instructions(name: str, target: str) -> None:
    """But for signs, which AVX-512 gives back in one."""
    function, cpu, shape = FUNCTIONS[name], parse_target(target, elsewhere=True), (16, 4, 64)
    layout = plan_layout(shape, lanes=cpu.lanes, batch_lanes=True, halo=Halo())
    operands = {each: Value(each, layout) for each in ("x", "result")}
    layer = Layer("result", Identity(), ("x",), shape, (step(function),))
    kernel = build_kernel(layer, Context(operands, cpu, threads=1))
    source = generate(lower(kernel.module, kernel.store, kernel.store.shape), cpu).inspect_source("asm")
    instructions = re.findall(r"\t(v\w+)\s+(.*)", source)
    stores = [
        given for op, given in instructions if op.startswith("vmov") and re.match(r"%[yz]mm\d+, .*\(", given)
    ]
    arithmetic = re.compile(r"v(max|min|add|sub|mul|fn?m(add|sub)|and|x?or|ptern)")
    counted = [op for op, given in instructions if arithmetic.match(op) and re.search("[yz]mm", given)]
    per_vector = len(counted) / len(stores)
    spared = 1 if name == "odd" and target != "haswell" else 0
    assert per_vector == operations(function) - spared
