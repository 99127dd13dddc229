"""Linear layers without batch lanes against the float64 evaluator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.compiler import compile_graph
from sparsegen.formats import masked_vectors
from sparsegen.graph import Layer, Linear, Step
from sparsegen.kernels.linear_schedule import (
    FeatureTiles,
    LinearSchedule,
    default_linear,
    masked_fits,
    masked_linear,
)
from sparsegen.kernels.registry import Context, build_kernel
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Halo, plan_layout
from sparsegen.target import parse_target
from tests.kernels.contract import WEIGHTS, check, single, weights
from tests.kernels.harness import Setting, assert_matches, one_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue

MASKED = pytest.mark.skipif(not parse_target("native").instructions.expand, reason="needs AVX-512")


@FEW
@given(
    any_setting(batch_lanes=False),
    st.lists(extents(1, 9), max_size=3),
    extents(1, 40),
    extents(1, 150),
    st.booleans(),
    st.data(),
)
def test_rows_of_any_rank(setting, leading, inputs, outputs, bias, data):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    core = Linear(weight, rng.normal(size=outputs).astype(np.float32) if bias else None)
    source, shape = (setting.batch, *leading, inputs), (setting.batch, *leading, outputs)
    graph = data.draw(with_epilogue(core, source, shape))
    assert_matches(graph, setting, tolerance=2e-5)


def test_a_halo_fills_up_the_last_vector():
    weight = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    graph = one_layer(Linear(weight, None), {"x": (2, 4, 5, 3)}, (2, 4, 5, 7), (Step("silu"),))
    setting = Setting(2, batch_lanes=False, target="haswell", halo=Halo(right=1))
    assert_matches(graph, setting, tolerance=2e-5)


def test_a_vector_without_a_batch():
    weight = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    graph = one_layer(Linear(weight, None), {"x": (20,)}, (30,))
    assert_matches(graph, Setting(20, batch_lanes=False), tolerance=2e-5)


@pytest.mark.parametrize("target", ["native", "haswell"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 128, 197])
def test_a_tile_fits_the_registers(target, rows):
    cpu = parse_target(target)
    layout = Setting(1, batch_lanes=False, target=target).layout((1, rows, 1000))
    tile = default_linear(layout, cpu, threads=2)
    assert tile.rows * tile.vectors + tile.vectors + 1 <= cpu.registers
    assert -(-rows // tile.rows) * tile.rows < rows + tile.rows


def test_every_thread_gets_features_of_a_single_row():
    layout = Setting(1, batch_lanes=False).layout((1, 1000))
    assert FeatureTiles.of(layout, default_linear(layout, parse_target("native"), threads=32)).space[0] >= 32


@MASKED
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("batch", "vectors", "threads"), [(1, 4, 1), (3, 1, 2), (4, 3, 2)])
def test_masked_vectors_of_any_weights(kind: str, batch: int, vectors: int, threads: int) -> None:
    graph = single(Linear(weights((67, 37), kind), None), (batch, 37), (batch, 67))
    check(graph, threads=threads, schedules={"layer": LinearSchedule(batch, vectors, masked_vectors.NAME)})


@MASKED
@FEW
@given(st.integers(1, 4), extents(1, 70), extents(1, 150), st.floats(0, 1), st.booleans(), st.data())
def test_masked_vectors_of_any_size(batch, inputs, outputs, density, bias, data):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, inputs)) * (rng.random((outputs, inputs)) < density)
    core = Linear(weight.astype(np.float32), rng.normal(size=outputs).astype(np.float32) if bias else None)
    graph = data.draw(with_epilogue(core, (batch, inputs), (batch, outputs)))
    knobs = LinearSchedule(batch, data.draw(st.integers(1, -(-outputs // 16))) % 5 or 1, masked_vectors.NAME)

    def builder(layer: Layer, context: Context) -> Kernel:
        return build_kernel(layer, replace(context, schedules={layer.name: knobs}))

    assert_matches(graph, Setting(batch, batch_lanes=False), builder, tolerance=2e-5)


@MASKED
def test_a_matrix_of_each_image_in_masked_vectors() -> None:
    graph = single(Linear(weights((40, 21)), None), (2, 3, 21), (2, 3, 40), (Step("gelu"),))
    check(graph, threads=2, schedules={"layer": LinearSchedule(6, 3, masked_vectors.NAME)})


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 11])
def test_masked_vectors_read_every_weight_once_and_fit_the_registers(rows: int) -> None:
    cpu = parse_target("znver5", elsewhere=True)
    layout = plan_layout((rows, 1000), lanes=16, batch_lanes=False)
    knobs = masked_linear(layout, cpu, threads=2)
    assert knobs.rows == rows
    assert masked_fits(layout, cpu, knobs)
    assert not masked_fits(layout, cpu, replace(knobs, vectors=32 // rows))
    if rows > 1:
        assert not masked_fits(layout, cpu, replace(knobs, rows=rows - 1))


def test_masked_vectors_need_avx512() -> None:
    cpu, layout = parse_target("haswell", elsewhere=True), plan_layout((1, 1000), lanes=8, batch_lanes=False)
    assert not masked_fits(layout, cpu, masked_linear(layout, cpu, threads=1))


@pytest.mark.parametrize("target", ["native", "haswell"])
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (3, 2), (4, 2)])
def test_large_layers_leave_zeros_out_with_avx512(batch: int, threads: int, target: str) -> None:
    weight = weights((1030, 1100), "tenth")
    graph = single(Linear(weight, None), (batch, 1100), (batch, 1030), (Step("relu"),))
    check(graph, threads=threads, target=target)
    *_, report = compile_graph(graph, threads=threads, target=target).layers
    assert report.density == np.count_nonzero(weight) / weight.size
    masked = bool(parse_target(target).instructions.expand)
    assert report.format == (masked_vectors.NAME if masked else "dense")
    assert (report.weight_bytes < 0.2 * weight.nbytes) == masked
    assert (report.weight_bytes >= weight.nbytes) == (not masked)
