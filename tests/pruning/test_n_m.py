"""N:M pruning: N of every M consecutive input channels stay, the largest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.errors import SparsegenError
from sparsegen.pruning import magnitude, n_m
from tests.pruning.networks import filters, network, sandwich, weight_of
from tests.sampling import examples


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int, int]:
    m = draw(st.integers(1, 5))
    return draw(filters(channels_of=m)), draw(st.integers(1, m)), m


@given(cases(), st.booleans())
@examples(60)
def test_the_n_largest_of_every_m_stay(case: tuple[Tensor, int, int], linear: bool) -> None:
    weight, n, m = case
    weight = weight[:, :, 0, 0].contiguous() if linear else weight
    model = sandwich(weight)
    (layer,) = n_m(model, n=n, m=m, linear=linear)
    result = weight_of(model, "1")
    kept = result != 0
    assert torch.equal(result[kept], weight[kept])
    for old, new in zip(weight.split(m, dim=1), result.split(m, dim=1), strict=True):
        assert ((new != 0).sum(dim=1) == n).all()
        largest = old.abs().sort(dim=1, descending=True).values[:, :n]
        assert torch.equal(new.abs().sort(dim=1, descending=True).values[:, :n], largest)
    assert layer.sparsity == pytest.approx(1 - n / m)
    assert layer.detail == {"n": n, "m": m}


@given(cases())
@examples(20)
def test_pruning_again_changes_nothing(case: tuple[Tensor, int, int]) -> None:
    weight, n, m = case
    model = sandwich(weight)
    n_m(model, n=n, m=m)
    once = weight_of(model, "1").clone()
    n_m(model, n=n, m=m)
    assert torch.equal(weight_of(model, "1"), once)


def test_of_equal_weights_those_with_the_higher_channel_stay() -> None:
    model = sandwich(torch.ones(1, 4, 1, 1))
    n_m(model, n=1, m=2)
    assert weight_of(model, "1").flatten().tolist() == [0, 1, 0, 1]


def test_groups_of_a_convolution_count_channels_of_their_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, groups=2), nn.Linear(1, 1))
    (layer,) = n_m(model, n=1, m=4)
    assert (layer.shape, layer.sparsity) == ((8, 4, 3, 3), 0.75)
    with pytest.raises(SparsegenError, match="layer '1' has 4 input channels a group: 1:8 needs a multiple"):
        n_m(model, n=1, m=8)


@pytest.mark.parametrize(("n", "m"), [(5, 4), (0, 4), (-1, 2), (0, 0)])
def test_ratios_that_cannot_be(n: int, m: int) -> None:
    with pytest.raises(SparsegenError, match=f"ratio is {n}:{m}: give N:M with 1 <= N <= M"):
        n_m(network(), n=n, m=m)


def test_rows_below_one() -> None:
    with pytest.raises(SparsegenError, match="rows is 0"):
        n_m(network(), n=2, m=4, rows=0)


def test_m_has_to_divide_the_channels_and_the_error_leaves_the_model_alone() -> None:
    model = network()
    with pytest.raises(
        SparsegenError, match="layer 'narrow' has 12 input channels: 2:8 needs a multiple of 8"
    ):
        n_m(model, n=2, m=8)
    assert all(bool((weight_of(model, name) != 0).all()) for name in ("wide", "narrow"))
    assert [layer.name for layer in n_m(model, n=2, m=8, skip=("stem", "narrow"))] == ["wide"]
    assert all(layer.sparsity == 0 for layer in n_m(network(), n=8, m=8))


def test_a_layer_with_more_zeros_than_the_ratio_leaves() -> None:
    model = network()
    magnitude(model, sparsity=0.75)
    with pytest.raises(
        SparsegenError, match=r"layer 'wide' is 75.0% zeros already, more than the 50.0% asked"
    ):
        n_m(model, n=2, m=4)
