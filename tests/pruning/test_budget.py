"""Ratios under a time budget: the dynamic programme against brute force, and a model pruned by it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.errors import SparsegenError
from sparsegen.pruning import budget, kernel, magnitude
from sparsegen.pruning.budget import choose_ratios
from tests.pruning.networks import network, weight_of
from tests.sampling import examples

STEPS = 200

Options = list[tuple[float, float]]
"""Seconds and kept share of every option of a layer."""

problems = st.lists(
    st.lists(st.tuples(st.floats(1e-4, 1e-1), st.floats(0, 1)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def choose(problem: list[Options], limit: float) -> list[tuple[float, float]]:
    """Seconds and kept share of the option chosen for every layer."""
    seconds = [[time for time, _ in options] for options in problem]
    kept = [[share for _, share in options] for options in problem]
    indices = choose_ratios(seconds, kept, budget=limit, steps=STEPS)
    return [options[index] for options, index in zip(problem, indices, strict=True)]


def best(problem: list[Options], limit: float) -> float:
    """The most that any choice within the limit keeps, tried one by one."""
    return max(
        math.fsum(kept for _, kept in choice)
        for choice in itertools.product(*problem)
        if math.fsum(time for time, _ in choice) <= limit
    )


def least(problem: list[Options]) -> float:
    return math.fsum(min(time for time, _ in options) for options in problem)


def most(problem: list[Options]) -> float:
    return math.fsum(max(time for time, _ in options) for options in problem)


@given(problems, st.floats(0, 1.2))
@examples(200)
def test_as_good_as_brute_force_but_for_the_rounding(problem: list[Options], share: float) -> None:
    limit = least(problem) + share * (most(problem) - least(problem))
    chosen = choose(problem, limit)
    kept = math.fsum(share for _, share in chosen)
    assert math.fsum(time for time, _ in chosen) <= limit * (1 + 1e-12)
    assert kept <= best(problem, limit * (1 + 1e-12)) + 1e-9
    # Every layer's extra time is rounded up by less than one part of what there is to share out. Extra
    # times are compared, not sums: an extra time may be too short to change a sum.
    fastest = [min(time for time, _ in options) for options in problem]
    extra = [[(time - low, keep) for time, keep in each] for each, low in zip(problem, fastest, strict=True)]
    assert kept >= best(extra, (limit - least(problem)) * (1 - len(problem) / STEPS)) - 1e-9


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 20), st.floats(0, 1)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 2, 4, 5, 8, 10, 20, 25, 40, 50]),
)
@examples(100)
def test_exactly_brute_force_where_times_are_whole_parts(problem: list[Options], slack: int) -> None:
    limit = least(problem) + slack
    kept = math.fsum(share for _, share in choose(problem, limit))
    assert kept == pytest.approx(best(problem, limit), abs=1e-9)


def test_the_fastest_choice_is_always_there() -> None:
    problem: list[Options] = [[(0.1, 0.2), (0.3, 0.9)], [(0.7, 1.0), (0.2, 0.5)]]
    assert choose(problem, least(problem)) == [(0.1, 0.2), (0.2, 0.5)]
    with pytest.raises(SparsegenError, match=r"budget is 299.9 ms, and the fastest ratios take 300 ms"):
        choose(problem, least(problem) - 1e-4)
    with pytest.raises(SparsegenError, match="budget is nan ms"):
        choose(problem, math.nan)


def test_of_equal_options_the_fastest() -> None:
    assert choose([[(0.3, 1.0), (0.1, 1.0), (0.2, 1.0)]], 1.0) == [(0.1, 1.0)]


TIMES = {
    "wide": {(1, 4): 1e-3, (2, 4): 2e-3, (4, 4): 4e-3},
    "narrow": {(1, 4): 1e-4, (2, 4): 2e-4, (4, 4): 4e-4},
}


@pytest.mark.parametrize(
    ("limit", "ratios"),
    [
        (1.1e-3, [(1, 4), (1, 4)]),
        (1.5e-3, [(1, 4), (4, 4)]),
        (2.5e-3, [(2, 4), (4, 4)]),
        (1.0, [(4, 4), (4, 4)]),
    ],
)
def test_a_model_is_pruned_to_the_ratios_chosen(limit: float, ratios: list[tuple[int, int]]) -> None:
    layers = budget(network(), times=TIMES, budget=limit)
    assert [(layer.detail["n"], layer.detail["m"]) for layer in layers] == ratios
    for layer in layers:
        n, m = int(layer.detail["n"]), int(layer.detail["m"])
        assert layer.sparsity == 1 - n / m
        assert layer.detail["seconds"] == TIMES[layer.name][n, m]
    assert sum(layer.detail["seconds"] for layer in layers) <= limit


def test_layers_count_alike_whatever_their_scale() -> None:
    model = network()
    times = {name: {(1, 4): 1.0, (4, 4): 2.0} for name in ("wide", "narrow")}
    before = budget(network(), times=times, budget=3.0)
    model.wide.weight.data *= 1000
    assert [layer.detail for layer in budget(model, times=times, budget=3.0)] == [
        layer.detail for layer in before
    ]


def test_a_pruned_layer_takes_the_fastest_ratio_that_costs_it_nothing() -> None:
    model = network()
    magnitude(model, sparsity=0.98)
    layers = budget(model, times=TIMES, budget=1.0)
    assert all(layer.kept_l1 == 1.0 for layer in layers)
    assert layers[0].detail["n"] < 4


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"wide": TIMES["wide"]}, "no times for layer 'narrow'"),
        ({**TIMES, "narrow": {}}, "no times for layer 'narrow'"),
        ({**TIMES, "stem": {(1, 1): 1.0}}, "times for 'stem', which is not pruned; the layers are: wide, n"),
        ({**TIMES, "wide": {(2, 1): 1.0}}, "ratio is 2:1"),
        ({**TIMES, "wide": {(1, 3): 1.0}}, "layer 'wide' has 8 input channels: 1:3 needs a multiple of 3"),
        ({**TIMES, "wide": {(1, 4): 0.0}}, "layer 'wide' takes 0.0 s at 1:4: give a positive time"),
        ({**TIMES, "wide": {(1, 4): math.nan}}, "layer 'wide' takes nan s"),
    ],
)  # fmt: skip
def test_times_that_do_not_fit(times: dict[str, dict[tuple[int, int], float]], message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        budget(network(), times=times, budget=1.0)


def test_whole_filters_are_kept_where_rows_share_them() -> None:
    model, before = network(), {name: weight_of(network(), name) for name in TIMES}
    layers = budget(model, times=TIMES, budget=2.5e-3, rows=2)
    assert [(layer.detail["n"], layer.detail["m"]) for layer in layers] == [(2, 4), (4, 4)]
    other = network()
    kernel(other, sparsity=0.5, rows=2, skip=("stem", "narrow", "classifier"))
    assert torch.equal(weight_of(model, "wide"), weight_of(other, "wide"))
    assert torch.equal(weight_of(model, "narrow"), before["narrow"])
    with pytest.raises(SparsegenError, match="rows is 0"):
        budget(network(), times=TIMES, budget=1.0, rows=0)
