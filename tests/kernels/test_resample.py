"""Resampling against the float64 evaluator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import Interpolation, Resample2d
from tests.kernels.harness import Setting, assert_matches, one_layer, run_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue
from tests.reference import evaluate


@st.composite
def axis(draw: st.DrawFn) -> tuple[int, Interpolation]:
    """(extent, how it is resampled): copied, each position several times, or weighted, in any order."""
    extent = draw(extents(1, 12))
    kind = draw(st.sampled_from(["as it is", "repeated", "copied", "weighted"]))
    if kind in ("as it is", "repeated"):
        times = 1 if kind == "as it is" else draw(st.integers(2, 3))
        reads = np.repeat(np.arange(extent), times)[:, None]
        return extent, Interpolation(reads.astype(np.int32), np.ones(reads.shape, np.float32))
    taps = 1 if kind == "copied" else draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    reads = rng.integers(0, extent, (draw(extents(1, 20)), taps)).astype(np.int32)
    weights = np.ones(reads.shape) if kind == "copied" else rng.normal(size=reads.shape)
    return extent, Interpolation(reads, weights.astype(np.float32))


@FEW
@given(any_setting(), axis(), axis(), st.data())
def test_any_interpolation(setting, vertical, horizontal, data):
    (height, rows), (width, columns) = vertical, horizontal
    core = Resample2d(rows, columns)
    source, shape = (setting.batch, 3, height, width), (setting.batch, 3, len(rows.reads), len(columns.reads))
    assert_matches(data.draw(with_epilogue(core, source, shape)), setting)


@pytest.mark.parametrize(("batch", "batch_lanes"), [(3, False), (16, True)])
def test_nan_is_read_with_a_weight_of_zero(batch, batch_lanes):
    """As in torch: 0 times NaN is NaN."""
    pair = Interpolation(np.array([[0, 1], [1, 2]], np.int32), np.array([[1, 0], [0.5, 0.5]], np.float32))
    graph = one_layer(Resample2d(pair, pair), {"x": (batch, 2, 3, 3)}, (batch, 2, 2, 2))
    x = torch.zeros(batch, 2, 3, 3)
    x[-1, 1, 0, 1] = torch.nan
    (expected,) = evaluate(graph, (x,))
    assert expected.isnan().sum() == 2
    actual = run_layer(graph, (x,), Setting(batch, batch_lanes))
    torch.testing.assert_close(actual.double(), expected, equal_nan=True)
