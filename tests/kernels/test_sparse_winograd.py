"""Winograd's kernel that skips filters: which it lists, its results under any schedule, its choice."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.compiler import compile_graph
from sparsegen.graph import LayerGraph, Shape, Step
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import best_offer, refusals, space_of
from sparsegen.kernels.winograd import SparseWinogradSchedule
from sparsegen.kernels.winograd.kept import KeptChannels, mean_kept
from sparsegen.target import parse_target
from tests.kernels.contract import WEIGHTS, Array, check, conv_graph, weights
from tests.sampling import examples, large

SAME = (1, 1, 1, 1)

SCHEDULES = {
    "2 x 2": SparseWinogradSchedule(outputs=2, rows=4, tiles_h=1, tiles_w=2, chunk=2),
    "4 x 4": SparseWinogradSchedule(outputs=4, rows=3, tiles_h=2, tiles_w=1, chunk=1),
    "permuted": SparseWinogradSchedule(outputs=4, rows=2, tiles_h=2, tiles_w=2, chunk=7, permuted=True),
    "two sums": SparseWinogradSchedule(outputs=2, rows=3, tiles_h=1, tiles_w=1, chunk=5, chains=2),
    "all": SparseWinogradSchedule(4, 4, 2, 2, 2, permuted=True, chains=2),
}
OF_PIXELS = {
    "rows": SparseWinogradSchedule(outputs=4, rows=3, tiles_h=1, tiles_w=1, chunk=1),
    "all": SparseWinogradSchedule(2, 4, 1, 1, 2, permuted=True, chains=2),
}


def kernels_pruned(weight: Array, share: float, *, rows: int = 1) -> Array:
    """The weights without a share of the filters, which so many output channels lose together."""
    rng = np.random.default_rng(0)
    for first in range(0, len(weight), rows):
        weight[first : first + rows, rng.random(weight.shape[1]) < share] = 0
    return weight


@large(("kind", "name"), itertools.product(WEIGHTS, SCHEDULES), sample=16)
def test_any_weights(kind: str, name: str) -> None:
    graph = conv_graph(weights((13, 12, 3, 3), kind), (16, 12, 6, 7), padding=SAME)
    check(graph, threads=2, schedules={"layer": SCHEDULES[name]})


@large(
    ("source", "name", "target"),
    itertools.product([(16, 5, 8, 8), (15, 3, 6, 8)], SCHEDULES, ["native", "haswell"]),
    sample=8,
)
def test_any_image(name: str, source: Shape, target: str) -> None:
    weight = kernels_pruned(weights((14, source[1], 3, 3), "dense"), 0.5)
    graph = conv_graph(weight, source, padding=SAME, epilogue=(Step("relu"),))
    check(graph, threads=2, target=target, schedules={"layer": SCHEDULES[name]})


@large(
    ("size", "name", "target"),
    itertools.product([(4, 7), (9, 30), (6, 61)], OF_PIXELS, ["native", "haswell"]),
    sample=6,
)
def test_any_image_of_pixel_lanes(name: str, size: tuple[int, int], target: str) -> None:
    weight = kernels_pruned(weights((14, 5, 3, 3), "dense"), 0.5)
    graph = conv_graph(weight, (3, 5, *size), padding=SAME, epilogue=(Step("relu"),))
    check(graph, threads=2, target=target, schedules={"layer": OF_PIXELS[name]})


def test_a_permuted_epilogue_reads_the_channels_own_values() -> None:
    """The residual of a channel is added to that channel, wherever its row is."""
    weight, shape = kernels_pruned(weights((12, 12, 3, 3), "dense"), 0.6), (16, 12, 8, 8)
    graph = conv_graph(weight, shape, padding=SAME, epilogue=(Step("add", "x"), Step("relu")))
    check(graph, threads=2, schedules={"layer": SparseWinogradSchedule(4, 2, 2, 2, 3, permuted=True)})


def test_a_channel_that_no_filter_reads_does_not_matter() -> None:
    weight = weights((4, 4, 3, 3), "dense")
    weight[:, 1:] = 0
    graph = conv_graph(weight, (16, 4, 8, 8), padding=SAME)
    knobs = SparseWinogradSchedule(4, 2, 2, 2, 2, chains=2)
    model = compile_graph(graph, threads=1, schedules={"layer": knobs})
    x = torch.randn(16, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    results = []
    for others in (0.0, math.inf):
        x[:, 1:] = others
        results.append(model(x).clone())
    assert torch.equal(*results)


@given(st.data())
def test_panels_list_the_channels_that_any_of_their_rows_keeps(data: st.DataObject) -> None:
    out, channels = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 7))
    flags = data.draw(st.lists(st.booleans(), min_size=out * channels, max_size=out * channels))
    rows, multiple = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    ends = [*sorted(data.draw(st.lists(st.integers(0, channels), max_size=2))), channels]
    kept: NDArray[np.bool_] = np.array(flags).reshape(out, channels)
    panels = -(-out // rows) + data.draw(st.integers(0, 1))
    listed = KeptChannels.of(kept, rows=rows, panels=panels, multiple=multiple, ends=ends)
    counts = np.zeros((panels, len(ends)))
    for panel, (part, end) in itertools.product(range(panels), enumerate(ends)):
        begin, place = ends[part - 1] if part else 0, panel * len(ends) + part
        own = slice(listed.starts[place], listed.starts[place + 1])
        of_rows = begin + np.flatnonzero(kept[panel * rows : (panel + 1) * rows, begin:end].any(axis=0))
        assert np.array_equal(listed.channels[own][~listed.repeated[own]], of_rows)
        assert set(listed.channels[own][listed.repeated[own]]) <= set(of_rows[-1:])
        assert (own.stop - own.start) % multiple == 0
        assert (listed.panel_of[own] == panel).all()
        counts[panel, part] = own.stop - own.start
    whole = -(-out // rows)
    assert mean_kept(kept, rows, multiple=multiple, ends=ends) == pytest.approx(counts[:whole].mean(axis=0))


def planned(graph: LayerGraph, *, threads: int = 1, **options: bool) -> tuple[object, ...]:
    """The layer and the context of a graph of one layer."""
    plan = plan_graph(graph, threads=threads, target=parse_target("native"), **options)
    return plan.layer("layer"), plan.context


@large(
    ("threads", "batch", "which"),
    itertools.product([1, 2], [1, 16], ["first", "middle", "last", "default"]),
    sample=6,
)
def test_it_is_chosen_for_pruned_filters_and_its_schedules_are_right(
    threads: int, batch: int, which: str
) -> None:
    weight = kernels_pruned(weights((64, 64, 3, 3), "dense"), 0.5, rows=4)
    graph = conv_graph(weight, (batch, 64, 28, 28), padding=SAME)
    found = space_of(*planned(graph, threads=threads))  # type: ignore[arg-type]
    assert found is not None
    assert found.kernel == "sparse_winograd"
    assert found.zeros_matter
    schedules = list(found.schedules())
    assert found.default in schedules
    places = {"first": 0, "middle": len(schedules) // 2, "last": -1}
    schedule = schedules[places[which]] if which in places else found.default
    assert all(math.isfinite(value) for value in found.features(schedule).values())
    check(graph, threads=threads, schedules={"layer": schedule}, tolerance=1e-4)


@examples(20)
@given(st.data())
def test_points_are_read_back(data: st.DataObject) -> None:
    weight = kernels_pruned(weights((16, 8, 3, 3), "dense"), 0.5, rows=4)
    found = space_of(*planned(conv_graph(weight, (16, 8, 8, 8), padding=SAME)))  # type: ignore[arg-type]
    assert found is not None
    schedule = data.draw(st.sampled_from(list(found.schedules())))
    assert found.read(schedule.as_dict()) == schedule


def test_the_more_filters_are_empty_the_less_it_costs() -> None:
    costs = []
    for share in (0.0, 0.2, 0.5, 0.8):
        weight = kernels_pruned(weights((64, 64, 3, 3), "dense"), share, rows=4)
        offer = best_offer(*planned(conv_graph(weight, (16, 64, 28, 28), padding=SAME)))  # type: ignore[arg-type]
        costs.append((offer.cost.seconds, offer.implementation.name))
    assert [name for _, name in costs] == ["winograd", *["sparse_winograd"] * 3]
    assert sorted(costs, reverse=True) == costs


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("dense", {}, "no filter is zero everywhere"),
        ("pruned", {"dense": True}, "every weight is to be multiplied"),
        ("pruned", {"winograd": False}, "it is switched off"),
    ],
)
def test_refusals_tell_why(kind: str, options: dict[str, bool], reason: str) -> None:
    weight = weights((16, 16, 3, 3), "dense")
    weight = weight if kind == "dense" else kernels_pruned(weight, 0.5)
    graph = conv_graph(weight, (16, 16, 8, 8), padding=SAME)
    assert refusals(*planned(graph, **options))["sparse_winograd"] == reason  # type: ignore[arg-type]
