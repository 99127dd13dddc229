"""Which times are too uneven for the figures that rest on them."""

from __future__ import annotations

import dataclasses

import pytest

from sparsegen.compare.report import OURS, Comparison, LayerComparison, NetworkComparison, Timing
from sparsegen.compare.spread import spread_warnings


def uneven(timing: Timing) -> Timing:
    return dataclasses.replace(timing, p10_ms=timing.median_ms, p90_ms=1.5 * timing.median_ms)


def with_uneven(layer: LayerComparison, *rivals: str) -> LayerComparison:
    """The layer with uneven times of some dense rivals, or of ours, `sparse`."""
    race = layer.race
    dense = {name: uneven(each) if name in rivals else each for name, each in race.dense.items()}
    sparse = uneven(race.sparse) if "sparse" in rivals else race.sparse
    return dataclasses.replace(layer, race=dataclasses.replace(race, dense=dense, sparse=sparse))


@pytest.fixture
def network(comparison: Comparison) -> NetworkComparison:
    assert comparison.end_to_end is not None
    return comparison.end_to_end


def test_even_times_are_told_nothing_of(comparison: Comparison, network: NetworkComparison) -> None:
    assert list(spread_warnings(comparison.layers, network)) == []
    assert list(spread_warnings((), None)) == []


def test_layers_share_a_line_that_names_the_worst(comparison: Comparison) -> None:
    first, second, *others = comparison.layers
    layers = (with_uneven(first, "sparse"), with_uneven(second, second.race.best_dense), *others)
    (line,) = spread_warnings(layers, None)
    assert line.startswith("times of 2 of 19 layers vary by 30% or more from the 10th to the 90th percentile")
    assert "those of ours on stage1.unit1.conv1 by 50%: take more --samples" in line


def test_a_slow_rivals_times_do_not_matter(comparison: Comparison) -> None:
    first, *others = comparison.layers
    slower = ({*first.race.dense} - {first.race.best_dense, first.race.best_torch}).pop()
    assert list(spread_warnings((with_uneven(first, slower), *others), None)) == []


def test_csr_counts_where_it_took_part(with_csr: Comparison) -> None:
    first, *others = with_csr.layers
    csr = {**first.race.csr, "torch-csr": uneven(first.race.csr["torch-csr"])}
    first = dataclasses.replace(first, race=dataclasses.replace(first.race, csr=csr))
    (line,) = spread_warnings((first, *others), None)
    assert "torch-csr on stage1.unit1.conv1" in line


@pytest.mark.parametrize("rival", [OURS, "torch-compile"])
def test_the_network_has_a_line_of_its_own(network: NetworkComparison, rival: str) -> None:
    dense = {**network.race.dense, rival: uneven(network.race.dense[rival])}
    race = dataclasses.replace(network.race, dense=dense)
    (line,) = spread_warnings((), dataclasses.replace(network, race=race))
    assert line.startswith(f"the network's times vary, those of {rival} by 50%")
