"""Linear layers without batch lanes against the float64 evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import Linear, Step
from sparsegen.kernels.linear import choose_tiles, plain_linear
from sparsegen.lowering.layout import Halo
from sparsegen.target import parse_target
from tests.kernels.harness import Setting, assert_matches, one_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue


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
    assert_matches(graph, setting, plain_linear, tolerance=2e-5)


def test_a_halo_fills_up_the_last_vector():
    weight = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    graph = one_layer(Linear(weight, None), {"x": (2, 4, 5, 3)}, (2, 4, 5, 7), (Step("silu"),))
    setting = Setting(2, batch_lanes=False, target="haswell", halo=Halo(right=1))
    assert_matches(graph, setting, plain_linear, tolerance=2e-5)


def test_a_vector_without_a_batch():
    weight = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    graph = one_layer(Linear(weight, None), {"x": (20,)}, (30,))
    assert_matches(graph, Setting(20, batch_lanes=False), plain_linear, tolerance=2e-5)


@pytest.mark.parametrize("target", ["native", "haswell"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 128, 197])
def test_a_tile_fits_the_registers(target, rows):
    cpu = parse_target(target)
    layout = Setting(1, batch_lanes=False, target=target).layout((1, rows, 1000))
    tiles = choose_tiles(layout, cpu, threads=2)
    assert tiles.tile_rows * tiles.tile_vectors + tiles.tile_vectors + 1 <= cpu.registers
    assert tiles.space[1] * tiles.tile_rows < rows + tiles.tile_rows


def test_every_thread_gets_features_of_a_single_row():
    layout = Setting(1, batch_lanes=False).layout((1, 1000))
    assert choose_tiles(layout, parse_target("native"), threads=32).space[0] >= 32
