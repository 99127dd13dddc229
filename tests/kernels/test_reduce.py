"""Mean, softmax and layer norm against the float64 evaluator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsegen.graph import LayerNorm, LogSoftmax, Mean, Reduce, Softmax
from tests.kernels.harness import Setting, assert_matches, one_layer, run_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue
from tests.reference import REDUCTIONS

INNER = st.lists(extents(), min_size=0, max_size=4)


@FEW
@given(any_setting(), INNER, st.booleans(), st.data())
def test_mean_over_any_dimensions(setting, inner, keepdim, data):
    source = (setting.batch, *inner)
    allowed = range(1 if setting.batch_lanes else 0, len(source))
    assume(allowed)
    dims = tuple(sorted(data.draw(st.sets(st.sampled_from(allowed), min_size=1))))
    kept = [1 if dim in dims else extent for dim, extent in enumerate(source) if keepdim or dim not in dims]
    assert_matches(data.draw(with_epilogue(Mean(dims, keepdim), source, tuple(kept))), setting)


@pytest.mark.parametrize("kind", REDUCTIONS)
@FEW
@given(any_setting(), INNER, st.booleans(), st.data())
def test_reductions_over_any_dimensions(kind, setting, inner, keepdim, data):
    source = (setting.batch, *inner)
    allowed = range(1 if setting.batch_lanes else 0, len(source))
    assume(allowed)
    dims = tuple(sorted(data.draw(st.sets(st.sampled_from(allowed), min_size=1))))
    kept = [1 if dim in dims else extent for dim, extent in enumerate(source) if keepdim or dim not in dims]
    graph = data.draw(with_epilogue(Reduce(kind, dims, keepdim), source, tuple(kept)))
    # A sum of thousands of numbers that cancel has the rounding of its parts.
    assert_matches(graph, setting, tolerance=1e-3 if kind == "sum" else 1e-4)


@FEW
@given(any_setting(), INNER, st.data())
def test_log_softmax_over_any_dimension(setting, inner, data):
    source = (setting.batch, *inner)
    allowed = range(1 if setting.batch_lanes else 0, len(source))
    assume(allowed)
    core = LogSoftmax(data.draw(st.sampled_from(allowed)))
    assert_matches(data.draw(with_epilogue(core, source, source)), setting, tolerance=5e-6)


@FEW
@given(any_setting(), INNER, st.data())
def test_softmax_over_any_dimension(setting, inner, data):
    source = (setting.batch, *inner)
    allowed = range(1 if setting.batch_lanes else 0, len(source))
    assume(allowed)
    core = Softmax(data.draw(st.sampled_from(allowed)))
    assert_matches(data.draw(with_epilogue(core, source, source)), setting)


@FEW
@given(any_setting(), INNER, st.data())
def test_layer_norm_over_any_dimensions(setting, inner, data):
    source = (setting.batch, *inner)
    allowed = range(1 if setting.batch_lanes else 0, len(source))
    assume(allowed)
    dims = tuple(sorted(data.draw(st.sets(st.sampled_from(allowed), min_size=1))))
    core = LayerNorm(dims, eps=data.draw(st.sampled_from([1e-5, 0.5])))
    # Of few elements, a variance may be as small as eps, which magnifies the rounding of the mean.
    assert_matches(data.draw(with_epilogue(core, source, source)), setting, tolerance=1e-4)


@pytest.mark.parametrize("dims", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize("batch_lanes", [True, False])
def test_layer_norm_of_a_mean_far_from_zero(dims, batch_lanes):
    x = 100 + torch.randn((16, 48, 64), generator=torch.Generator().manual_seed(0))
    graph = one_layer(LayerNorm(dims, 1e-12), {"x": x.shape}, tuple(x.shape))
    variance, mean = torch.var_mean(x.double(), dims, correction=0, keepdim=True)
    result = run_layer(graph, (x,), Setting(16, batch_lanes))
    torch.testing.assert_close(result.double(), (x - mean) / variance.sqrt(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("batch_lanes", [True, False])
def test_softmax_of_large_values(dim, batch_lanes):
    x = torch.tensor([1e4, -1e4, 1e4, 3e38, -torch.inf, 0.0]).expand(16, 6, 6).contiguous()
    x = x if dim == 2 else x.transpose(1, 2).contiguous()
    graph = one_layer(Softmax(dim), {"x": (16, 6, 6)}, (16, 6, 6))
    torch.testing.assert_close(run_layer(graph, (x,), Setting(16, batch_lanes)), x.softmax(dim))
