"""Group norm, RMS norm and local response norm against the float64 evaluator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import GroupNorm, LayerNorm, LocalResponseNorm
from tests.kernels.harness import Setting, assert_matches, one_layer, run_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue
from tests.reference import evaluate


@FEW
@given(any_setting(), st.integers(1, 4), st.integers(1, 5), extents(), extents(2), st.data())
def test_group_norm(setting, groups, each, height, width, data):
    shape = (setting.batch, groups * each, height, width)
    graph = data.draw(with_epilogue(GroupNorm(groups, 1e-3), shape, shape))
    assert_matches(graph, setting, tolerance=5e-6)


@FEW
@given(any_setting(), st.tuples(extents(), extents(2)), st.sampled_from([(2,), (3,), (2, 3)]), st.data())
def test_rms_norm(setting, image, dims, data):
    shape = (setting.batch, 3, *image)
    graph = data.draw(with_epilogue(LayerNorm(dims, 1e-3, centred=False), shape, shape))
    assert_matches(graph, setting, tolerance=5e-6)


@FEW
@given(
    any_setting(), st.tuples(extents(1, 9), extents(), extents()), st.integers(1, 6),
    st.sampled_from([0.25, 0.5, 0.75, 1, 1.25, 2.5]), st.data(),
)  # fmt: skip
def test_local_response_norm(setting, image, size, beta, data):
    shape = (setting.batch, *image)
    core = LocalResponseNorm(size, alpha=0.7, beta=beta, bias=1.5)
    assert_matches(data.draw(with_epilogue(core, shape, shape)), setting)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(("batch", "batch_lanes"), [(3, False), (16, True)])
@pytest.mark.parametrize("core", [GroupNorm(2, 1e-5), LocalResponseNorm(3, 1.0, 0.75, 1.0)])
def test_nan_stays_in_its_group_or_window(core, batch, batch_lanes, value):
    graph = one_layer(core, {"x": (batch, 6, 5, 5)}, (batch, 6, 5, 5))
    x = torch.ones(batch, 6, 5, 5)
    x[1, 4, 2, 2] = value
    (expected,) = evaluate(graph, (x,))
    assert 0 < expected.isnan().sum() <= 75
    actual = run_layer(graph, (x,), Setting(batch, batch_lanes))
    torch.testing.assert_close(actual.double(), expected, equal_nan=True, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("batch", "batch_lanes"), [(3, False), (16, True)])
def test_a_mean_far_from_zero_leaves_the_variance(batch, batch_lanes):
    graph = one_layer(GroupNorm(2, 1e-5), {"x": (batch, 4, 9, 7)}, (batch, 4, 9, 7))
    x = 1000 + torch.rand(batch, 4, 9, 7)
    (expected,) = evaluate(graph, (x,))
    torch.testing.assert_close(
        run_layer(graph, (x,), Setting(batch, batch_lanes)).double(), expected, rtol=0, atol=2e-3
    )
