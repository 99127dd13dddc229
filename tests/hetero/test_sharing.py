"""Stages on one device: closed forms, and every partition into stages as the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from bench.seed_figures import units_on
from bench.seed_graphs import Node, read_graphs
from sparsegen.devices import Operator, table
from sparsegen.hetero.stages.shared_search import best_stages, chosen_stages
from sparsegen.hetero.stages.sharing import (
    SharedUnit,
    Steps,
    ends_at_once,
    greedy,
    in_chains,
    least_possible,
    sequential,
    together,
)


def unit(seconds: float, share: float, *reads: int) -> SharedUnit:
    return SharedUnit.of(["x"], reads, ((seconds, share),))


@pytest.mark.parametrize(
    ("groups", "seconds"),
    [
        ([((2.0, 1.0),)], 2.0),
        ([((2.0, 0.5),), ((3.0, 0.5),)], 3.0),  # there is room for both
        ([((2.0, 1.0),), ((2.0, 1.0),)], 4.0),  # each at half the speed
        ([((1.0, 1.0),), ((1.0, 0.5), (1.0, 0.5))], 2.5),  # at two thirds until 1.5, then alone
        ([((0.0, 1.0), (1.0, 0.25)), ()], 1.0),
    ],
)
def test_operators_at_once_share_the_device(groups: Sequence[Steps], seconds: float) -> None:
    assert together(groups) == pytest.approx(seconds)
    assert [len(ends) for ends in ends_at_once(groups)] == [len(group) for group in groups]


def test_each_step_ends_where_those_beside_it_let_it() -> None:
    ends = ends_at_once([((1.0, 1.0),), ((1.0, 0.5), (0.0, 0.5), (1.0, 0.5))])
    assert ends == [[pytest.approx(1.5)], [pytest.approx(1.5), pytest.approx(1.5), pytest.approx(2.5)]]


def random_units(seed: int, count: int) -> list[SharedUnit]:
    random = Random(seed)
    return [
        unit(
            random.uniform(1, 5),
            random.choice([0.1, 0.3, 0.6, 1.0]),
            *(read for read in range(number) if random.random() < 0.35),
        )
        for number in range(count)
    ]


def exhaustive(units: Sequence[SharedUnit], done: frozenset[int] = frozenset()) -> float:
    """The least time of any stages, by trying all: no masks, no blocks, no order."""
    if len(done) == len(units):
        return 0.0
    left, best = [n for n in range(len(units)) if n not in done], float("inf")
    for chosen in range(1, 1 << len(left)):
        stage = {n for bit, n in enumerate(left) if chosen >> bit & 1}
        if all(set(units[n].reads) <= done | stage for n in stage):
            groups = [tuple(s for n in sorted(part) for s in units[n].steps) for part in parts(units, stage)]
            seconds = together(groups)
            best = min(best, seconds + exhaustive(units, done | stage))
    return best


def parts(units: Sequence[SharedUnit], stage: set[int]) -> list[set[int]]:
    """The connected parts of a stage."""
    found: list[set[int]] = []
    for n in sorted(stage):
        beside = [part for part in found if part & set(units[n].reads)]
        found = [part for part in found if part not in beside] + [{n}.union(*beside)]
    return found


@pytest.mark.parametrize("seed", range(25))
def test_the_best_stages_are_those_of_an_exhaustive_search(seed: int) -> None:
    units = random_units(seed, 6)
    found = best_stages(units, width=64, most_endings=64)
    assert found.seconds == pytest.approx(exhaustive(units))
    assert sorted(n for stage in found.stages for n in stage) == list(range(6))


@pytest.mark.parametrize("seed", range(10))
def test_a_narrow_search_keeps_between_the_bound_and_its_rivals(seed: int) -> None:
    units = random_units(seed, 20)
    found = best_stages(units, width=4, most_endings=30).seconds
    assert max(least_possible(units)) <= found * (1 + 1e-9)
    assert found <= sequential(units).seconds * (1 + 1e-9)
    assert sequential(units).seconds == pytest.approx(sum(each.alone for each in units))
    assert greedy(units).seconds >= max(least_possible(units)) * (1 - 1e-9)


def test_chains_are_one_unit() -> None:
    operator = Operator("conv", "conv", 10**6, 10**4, 10**4)
    nodes = [Node(operator, ()), Node(operator, (0,)), Node(operator, (1,)), Node(operator, (1,))]
    alone = units_on(table("v100"), nodes)
    units = in_chains(alone)
    assert [each.layers for each in units] == [("0", "1"), ("2",), ("3",)]
    assert [each.reads for each in units] == [(), (0,), (0,)]
    assert sequential(units).seconds == pytest.approx(sequential(alone).seconds)


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_stages_are_no_slower_than_any_rival(seed: int) -> None:
    operators = random_units(seed, 15)
    units, chosen = chosen_stages(operators)
    rivals = [sequential(units), greedy(units), best_stages(units)]
    assert chosen.seconds == min(each.seconds for each in rivals)
    assert sorted(n for stage in chosen.stages for n in stage) == list(range(len(units)))


def test_graphs_are_in_an_order_that_runs() -> None:
    for nodes in read_graphs().values():
        assert all(read < number for number, node in enumerate(nodes) for read in node.reads)
