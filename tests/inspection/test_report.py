"""Totals add up, and speed-ups are those of the layers run one after the other."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.inspection import Inspection
from tests.inspection.conftest import layer, of_layers


def test_totals_add_up(mixed: Inspection) -> None:
    totals = mixed.totals
    for name in ("weights", "kept", "packed_bytes", "dense_bytes", "multiply_adds", "multiply_adds_left"):
        assert getattr(totals, name) == sum(getattr(layer, name) for layer in mixed.layers)
    assert totals.estimated_layers == 4
    assert totals.estimated_multiply_adds == totals.multiply_adds * 4 // 5
    assert totals.expected_speedup == pytest.approx(4 / (1 / 1.5 + 1 / 3 + 1 + 1 / 1.04))
    assert mixed.as_dict()["totals"]["expected_speedup"] == totals.expected_speedup


def test_totals_are_over_the_same_dense_kernels_as_the_rows() -> None:
    """Of layers that Winograd's filtering serves, whose estimates have panels' dearer one too."""
    dense, sparse = (layer(name, speedup=1.0, why="") for name in ("dense", "sparse"))
    estimates = {"dense_panels": 1e6, "masked_panels": 5e5, "winograd": 6e5}
    dense = dataclasses.replace(dense, format="winograd", cycles=6e5, estimates=estimates)
    assert (dense.expected_speedup, of_layers(dense).totals.expected_speedup) == (1.0, 1.0)
    sparse = dataclasses.replace(sparse, cycles=5e5, estimates=estimates)
    assert sparse.expected_speedup == of_layers(sparse).totals.expected_speedup == 1.2
    assert of_layers(dense, sparse).totals.expected_speedup == pytest.approx(1.2e6 / 1.1e6)


@given(st.lists(st.none() | st.floats(0.5, 50), min_size=1, max_size=6))
def test_together_layers_gain_no_more_than_the_best(speedups: list[float | None]) -> None:
    made = [layer(f"conv{index}", speedup=speedup, why="") for index, speedup in enumerate(speedups)]
    totals = of_layers(*made).totals
    estimated = [speedup for speedup in speedups if speedup is not None]
    assert totals.estimated_layers == len(estimated)
    if not estimated:
        assert totals.expected_speedup is None
    else:
        assert totals.expected_speedup is not None
        assert min(estimated) * 0.999 <= totals.expected_speedup <= max(estimated) * 1.001


@pytest.mark.parametrize(("speedup", "pays"), [(None, False), (1.0, False), (1.04, False), (1.06, True)])
def test_little_is_not_worth_it(speedup: float | None, pays: bool) -> None:
    assert layer("conv", speedup=speedup, why="").pays is pays
