"""Vectors and blocks: kept or dropped whole, the largest kept, ragged ends judged fairly."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparsegen.errors import SparsegenError
from sparsegen.pruning import PrunedLayer, block, kernel, n_m, vector
from tests.pruning.networks import filters, network, refused, sandwich, sparsities, weight_of
from tests.sampling import examples

shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))


def blocks_of(weight: Tensor, shape: tuple[int, int]) -> list[Tensor]:
    """Every block of the filters, one a (kh, kw), as a view."""
    rows, columns = shape
    filters = weight.reshape(*weight.shape[:2], -1)
    return [
        filters[row : row + rows, column : column + columns, tap]
        for row, column, tap in itertools.product(
            range(0, filters.shape[0], rows), range(0, filters.shape[1], columns), range(filters.shape[2])
        )
    ]


def check_blocks(before: Tensor, after: Tensor, shape: tuple[int, int], sparsity: float) -> None:
    pairs = list(zip(blocks_of(before, shape), blocks_of(after, shape), strict=True))
    kept = [old.abs().mean() for old, new in pairs if torch.equal(old, new)]
    dropped = [old.abs().mean() for old, new in pairs if not new.any()]
    assert len(kept) + len(dropped) == len(pairs)
    assert len(dropped) == round(sparsity * len(pairs))
    if kept and dropped:
        assert max(dropped) <= min(kept) * (1 + 1e-6)


@given(filters(), sparsities, shapes, st.booleans())
@examples(60)
def test_blocks_are_kept_or_dropped_whole(
    weight: Tensor, sparsity: float, shape: tuple[int, int], linear: bool
) -> None:
    weight = weight.flatten(1) if linear else weight
    model = sandwich(weight)
    told: list[PrunedLayer] = []
    parts = len(blocks_of(weight, shape))
    if refused(
        sparsity, parts, lambda: told.extend(block(model, sparsity=sparsity, shape=shape, linear=linear))
    ):
        assert torch.equal(weight_of(model, "1"), weight)
        return
    check_blocks(weight, weight_of(model, "1"), shape, sparsity)
    assert told[0].sparsity == float((weight_of(model, "1") == 0).double().mean())


@given(filters(), sparsities, st.integers(1, 6))
@examples(40)
def test_filters_are_kept_or_dropped_whole(weight: Tensor, sparsity: float, rows: int) -> None:
    model, whole = sandwich(weight), weight.flatten(2)
    groups = [
        whole[row : row + rows, channel]
        for row, channel in itertools.product(range(0, len(whole), rows), range(whole.shape[1]))
    ]
    dropped = round(sparsity * len(groups))
    if refused(sparsity, len(groups), lambda: kernel(model, sparsity=sparsity, rows=rows)):
        return
    after = weight_of(model, "1").flatten(2)
    pruned = [
        after[row : row + rows, channel]
        for row, channel in itertools.product(range(0, len(whole), rows), range(whole.shape[1]))
    ]
    lost = [not new.any() for new in pruned]
    assert sum(lost) == dropped
    assert all(gone or torch.equal(old, new) for old, new, gone in zip(groups, pruned, lost, strict=True))
    means = [group.abs().mean() for group in groups]
    if dropped:
        kept = min(mean for mean, gone in zip(means, lost, strict=True) if not gone)
        assert max(mean for mean, gone in zip(means, lost, strict=True) if gone) <= kept * (1 + 1e-6)


def test_filters_of_one_tap_are_vectors() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 6, 1, 1)
    of_kernels, of_vectors = sandwich(weight), sandwich(weight)
    kernel(of_kernels, sparsity=0.5, rows=2)
    vector(of_vectors, sparsity=0.5, rows=2)
    assert torch.equal(weight_of(of_kernels, "1"), weight_of(of_vectors, "1"))


@given(filters(), sparsities, st.integers(1, 6))
@examples(40)
def test_vectors_are_kept_or_dropped_whole(weight: Tensor, sparsity: float, rows: int) -> None:
    model = sandwich(weight)
    parts = len(blocks_of(weight, (rows, 1)))
    if not refused(sparsity, parts, lambda: vector(model, sparsity=sparsity, rows=rows)):
        check_blocks(weight, weight_of(model, "1"), (rows, 1), sparsity)


@given(filters(), sparsities, shapes)
@examples(30)
def test_pruning_again_changes_nothing(weight: Tensor, sparsity: float, shape: tuple[int, int]) -> None:
    model = sandwich(weight)
    if refused(sparsity, len(blocks_of(weight, shape)), lambda: block(model, sparsity=sparsity, shape=shape)):
        return
    once = weight_of(model, "1").clone()
    block(model, sparsity=sparsity, shape=shape)
    assert torch.equal(weight_of(model, "1"), once)


def test_a_last_vector_of_fewer_rows_is_judged_by_its_mean() -> None:
    weight = torch.ones(5, 1, 1, 1)
    weight[4] = 2
    model = sandwich(weight)
    vector(model, sparsity=0.5)
    assert weight_of(model, "1").flatten().tolist() == [0, 0, 0, 0, 2]


@pytest.mark.parametrize("rows", [0, -4, 2.0, "4", None, 1 << 70])
def test_vectors_without_rows(rows: Any) -> None:
    with pytest.raises(SparsegenError, match=f"rows is {rows!r}: give a whole number from 1 to"):
        vector(network(), sparsity=0.5, rows=rows)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (-1, -1), (4,), (2, 2, 2), (1, 1 << 70)])
def test_block_shapes_that_cannot_be(shape: tuple[int, int]) -> None:
    with pytest.raises(SparsegenError, match=r"the block shape is .*: give output and input channels"):
        block(network(), sparsity=0.5, shape=shape)


@pytest.mark.parametrize("method", [vector, block])
def test_sparsities_that_cannot_be(method: object) -> None:
    with pytest.raises(SparsegenError, match="0 <= sparsity < 1"):
        method(network(), sparsity=1.0)  # type: ignore[operator]
    model = network()
    method(model, sparsity=0.75)  # type: ignore[operator]
    with pytest.raises(SparsegenError, match=r"layer 'wide' is .* zeros already"):
        method(model, sparsity=0.25)  # type: ignore[operator]


def test_numbers_of_numpy_are_numbers() -> None:
    four, half, weight = np.int64(4), np.float32(0.5), torch.randn(8, 8, 3, 3)
    for method, options in (
        (vector, {"rows": four, "sparsity": half}),
        (kernel, {"rows": four, "sparsity": half}),
        (block, {"shape": (four, np.int8(2)), "sparsity": half}),
        (n_m, {"n": np.int64(2), "m": four}),
    ):
        method: Any
        (layer,) = method(sandwich(weight), **options)
        assert layer.sparsity == 0.5
        assert json.dumps(dict(layer.detail))


OUT = "layer 'wide': 64 output channels together were asked for, and it got 12"
IN = "layer 'wide': 16 input channels together were asked for, and it got 8"
NOTHING = "layer 'wide' of shape (12, 8, 3, 3): a sparsity of 0.04 was asked for, and it got 0"


@pytest.mark.parametrize(
    ("method", "options", "notes"),
    [
        (kernel, {"sparsity": 0.5, "rows": 4}, ()),
        (kernel, {"sparsity": 0.0, "rows": 4}, ()),
        (kernel, {"sparsity": 0.5, "rows": 64}, (OUT,)),
        (vector, {"sparsity": 0.5, "rows": 64}, (OUT,)),
        (n_m, {"n": 2, "m": 4, "rows": 64}, (OUT,)),
        (block, {"sparsity": 0.5, "shape": (64, 16)}, (OUT, IN)),
        (kernel, {"sparsity": 0.04, "rows": 12}, (NOTHING,)),
        (kernel, {"sparsity": 0.04, "rows": 64}, (OUT, NOTHING)),
    ],
)
def test_what_was_asked_for_and_could_not_be_had_is_told(
    method: Any, options: dict[str, Any], notes: tuple[str, ...]
) -> None:
    (layer,) = method(network(), **options, skip=("stem", "narrow", "classifier"))
    assert len(layer.notes) == len(notes)
    assert all(told.startswith(note) for told, note in zip(layer.notes, notes, strict=True))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (kernel, {"sparsity": 0.994, "rows": 1}),
        (vector, {"sparsity": 0.97, "rows": 64}),
        (block, {"sparsity": 0.9, "shape": (64, 64)}),
    ],
)
def test_where_a_later_layer_would_be_emptied_no_layer_is_pruned(
    method: Any, options: dict[str, Any]
) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SparsegenError, match=r"layer 'narrow' of shape .* takes them all: ask for less"):
        method(model, **options)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
