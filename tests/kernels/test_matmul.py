"""Products of two values against the float64 evaluator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import LayerGraph, MatMul, Shape, Step
from sparsegen.kernels.matmul_schedule import ProductTiles
from sparsegen.target import parse_target
from tests.kernels.contract import check, single
from tests.kernels.harness import Setting, assert_matches, one_layer
from tests.kernels.strategies import FEW, any_setting, extents
from tests.sampling import large

TOLERANCE = 1e-5


def product_graph(
    core: MatMul, matrices: Shape, sizes: tuple[int, int, int], epilogue: tuple[Step, ...] = ()
) -> LayerGraph:
    """The graph of products of matrices of `sizes` (rows, depth, columns)."""
    rows, depth, columns = sizes
    left = (depth, rows) if core.transpose_a else (rows, depth)
    right = (columns, depth) if core.transpose_b else (depth, columns)
    inputs = {"a": (*matrices, *left), "b": (*matrices, *right)}
    constants = {}
    if any(step.operand == "residual" for step in epilogue):
        inputs["residual"] = (*matrices, rows, columns)
    if any(step.operand == "scale" for step in epilogue):
        constants["scale"] = np.linspace(0.5, 2.0, columns, dtype=np.float32)
    return one_layer(core, inputs, (*matrices, rows, columns), epilogue, constants)


EPILOGUES = [
    (),
    (Step("mul", 0.125),),
    (Step("mul", "scale"), Step("sub", "residual", reverse=True), Step("relu")),
]


@FEW
@given(
    any_setting(),
    st.lists(extents(1, 4), max_size=2),
    st.tuples(extents(), extents(), extents(1, 40)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(EPILOGUES),
)
def test_any_product(setting, matrices, sizes, transpose_a, transpose_b, epilogue):
    graph = product_graph(MatMul(transpose_a, transpose_b), (setting.batch, *matrices), sizes, epilogue)
    assert_matches(graph, setting, tolerance=TOLERANCE)


@pytest.mark.parametrize("target", ["native", "haswell"])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("columns", [16, 100])
def test_two_matrices(transpose_a, transpose_b, columns, target):
    graph = product_graph(MatMul(transpose_a, transpose_b), (), (13, 33, columns), EPILOGUES[2])
    assert_matches(graph, Setting(13, batch_lanes=False, target=target), tolerance=TOLERANCE)


@pytest.mark.parametrize(
    ("left", "right", "out"),
    [
        ((16, 1, 5, 7), (16, 3, 7, 20), (16, 3, 5, 20)),
        ((16, 3, 5, 7), (16, 1, 7, 20), (16, 3, 5, 20)),
        ((16, 4, 5, 7), (16, 4, 7, 1), (16, 4, 5, 1)),
        ((16, 4, 1, 1), (16, 4, 1, 9), (16, 4, 1, 9)),
    ],
)
@pytest.mark.parametrize("batch_lanes", [True, False])
def test_matrices_are_broadcast(left, right, out, batch_lanes):
    graph = one_layer(MatMul(), {"a": left, "b": right}, out)
    assert_matches(graph, Setting(16, batch_lanes), tolerance=TOLERANCE)


@pytest.mark.parametrize("batch_lanes", [True, False])
@pytest.mark.parametrize("shape", [(7, 20), (4, 7, 20), (1, 1, 7, 20)])
def test_a_constant_is_broadcast(shape, batch_lanes):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    graph = one_layer(MatMul(), {"a": (16, 4, 5, 7)}, (16, 4, 5, 20), constants={"b": matrix})
    (layer,) = graph.layers
    layer = type(layer)(layer.name, layer.core, ("a", "b"), layer.shape)
    graph = LayerGraph(graph.inputs, [layer], graph.outputs, graph.constants)
    assert_matches(graph, Setting(16, batch_lanes), tolerance=TOLERANCE)


def test_a_value_by_itself():
    graph = single(MatMul(transpose_b=True), (2, 3, 9, 20), (2, 3, 9, 9))
    (layer,) = graph.layers
    layer = type(layer)("layer", layer.core, ("x", "x"), layer.shape)
    check(LayerGraph(graph.inputs, [layer], ("layer",)))


@large(
    ("batch", "columns", "target"),
    itertools.product([1, 3, 16, 17], [7, 64, 100], ["native", "haswell"]),
    sample=12,
)
def test_contract(batch, columns, target):
    graph = product_graph(MatMul(transpose_a=True), (batch, 3), (10, 12, columns), EPILOGUES[2])
    check(graph, threads=1 + batch % 2, target=target)


@pytest.mark.parametrize("target", ["native", "haswell"])
@pytest.mark.parametrize("batch_lanes", [True, False])
@pytest.mark.parametrize("height", [1, 2, 3, 7, 64, 128, 197])
def test_a_tile_fits_the_registers(height, batch_lanes, target):
    cpu = parse_target(target)
    for width in (1, 5, 16, 64, 128, 197):
        layout = Setting(16, batch_lanes, target=target).layout((16, 12, height, width))
        tiles = ProductTiles.of(layout, cpu)
        assert (tiles.rows + 1) * tiles.vectors + 1 <= cpu.registers
        assert tiles.rows <= height
