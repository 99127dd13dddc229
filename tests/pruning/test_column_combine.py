"""Column combining of a model: every layer packs, and the report tells how well."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparsegen.errors import SparsegenError
from sparsegen.pruning import column_combine
from sparsegen.pruning.combining import combine_columns
from tests.pruning.networks import filters, network, sandwich, weight_of
from tests.sampling import examples


@given(filters(), st.floats(0.3, 0.95), st.integers(1, 8), st.sampled_from(["greedy", "annealing"]))
@examples(25)
def test_a_layer_is_its_filter_matrix_combined(
    weight: Tensor, sparsity: float, group: int, method: str
) -> None:
    model = sandwich(weight)
    options = {"sparsity": sparsity, "group": group, "method": method, "seed": 3}
    (layer,) = column_combine(model, **options)  # type: ignore[arg-type]
    matrix = weight.flatten(1).numpy()
    taps = weight.shape[2] * weight.shape[3]
    expected = combine_columns(matrix, columns_per_channel=taps, **options)  # type: ignore[arg-type]
    result = weight_of(model, "1").flatten(1)
    assert torch.equal(result != 0, torch.from_numpy(expected.mask))
    assert layer.detail == {
        "groups": len(expected.groups),
        "packing_density": expected.packing_density,
    }
    assert layer.sparsity == pytest.approx(expected.sparsity)
    assert layer.kept_l1 == pytest.approx(expected.kept_l1)
    for columns in expected.groups:
        assert (result[:, columns] != 0).sum(dim=1).max() <= 1


def test_linear_layers_have_a_column_a_channel() -> None:
    model = network()
    layers = column_combine(model, sparsity=0.8, linear=True)
    assert [layer.name for layer in layers] == ["wide", "narrow", "hidden"]
    assert all(layer.sparsity >= 0.8 - 1 / 48 for layer in layers)


def test_conflicts_may_remove_more_than_was_asked_for() -> None:
    (layer,) = column_combine(sandwich(torch.ones(4, 8, 1, 1)), sparsity=0, group=8, conflicts=7)
    assert layer.sparsity == 7 / 8
    assert layer.detail == {"groups": 1, "packing_density": 1.0}


def test_combining_again_keeps_what_is_pruned() -> None:
    model = network()
    first = column_combine(model, sparsity=0.9)
    again = column_combine(model, sparsity=0.5)
    for before, after in zip(first, again, strict=True):
        assert after.sparsity >= before.sparsity


def test_every_layer_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    column_combine(network(), sparsity=0.8, on_progress=lambda *step: told.append(step))
    text = "combining the columns of layer"
    assert told == [(f"{text} wide", 0, 2), (f"{text} narrow", 1, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "0 <= sparsity < 1"),
        ({"group": 0}, "group is 0"),
        ({"conflicts": -0.1}, "conflicts is -0.1"),
        ({"method": "best"}, "greedy, annealing"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    model = network()
    with pytest.raises(SparsegenError, match=message):
        column_combine(model, **{"sparsity": 0.8, **options})  # type: ignore[arg-type]
    assert bool((weight_of(model, "wide") != 0).all())
