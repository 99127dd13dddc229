"""Stages are the quickest that there are, and hand-overs make none slower: oracles of another kind."""

from __future__ import annotations

import functools
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.hetero.stages.handover import joined, list_schedule
from sparsegen.hetero.stages.rivals import a_branch_a_thread, greedy
from sparsegen.hetero.stages.search import FoundStage, Terms, best_stages, chained, sequential_seconds
from sparsegen.hetero.stages.units import Unit, blocks_of, parts_of
from tests.sampling import examples, large

TWO = Terms(threads=2, meeting=0.01, handover=0.002)


def random_units(seed: int, count: int) -> list[Unit]:
    """Units that read some of those before, and are up to twice as fast on two threads."""
    draw = random.Random(seed)
    units = []
    for number in range(count):
        reads = tuple(sorted(draw.sample(range(number), min(number, draw.choice((0, 1, 1, 2))))))
        alone = draw.choice((0.1, 0.5, 1.0, 3.0)) * draw.uniform(0.5, 2.0)
        units.append(Unit((f"u{number}",), {1: alone, 2: alone / draw.uniform(1.0, 2.0)}, reads))
    return units


def least_by_trying_all(units: list[Unit], terms: Terms) -> float:
    """Every stage that may come next, after every state: groups are dealt in every way to two threads."""
    everything = frozenset(range(len(units)))

    def ready_sets(done: frozenset[int]) -> list[frozenset[int]]:
        left = sorted(everything - done)
        sets = (frozenset(c) for size in range(1, len(left) + 1) for c in itertools.combinations(left, size))
        return [each for each in sets if all({*units[u].reads} <= done | each for u in each)]

    def parts_of(chosen: frozenset[int]) -> list[set[int]]:
        parts: list[set[int]] = []
        for unit in sorted(chosen):
            touching = [part for part in parts if part & {*units[unit].reads}]
            parts = [part for part in parts if part not in touching]
            parts.append(set().union({unit}, *touching))
        return parts

    def price(chosen: frozenset[int]) -> float:
        best = sum(units[u].seconds[2] for u in chosen)
        parts = [sum(units[u].seconds[1] for u in part) for part in parts_of(chosen)]
        if len(parts) > 1:
            for sides in itertools.product((0, 1), repeat=len(parts)):
                loads = [sum(p for p, s in zip(parts, sides, strict=True) if s == side) for side in (0, 1)]
                if all(loads):
                    best = min(best, max(loads) * terms.slowdown + terms.meeting)
        return best

    @functools.cache
    def least(done: frozenset[int]) -> float:
        if done == everything:
            return 0.0
        return min(price(chosen) + least(done | chosen) for chosen in ready_sets(done))

    return least(frozenset())


@large(("seed",), ((seed,) for seed in range(300)), sample=40)
def test_the_quickest_of_all_stages(seed: int) -> None:
    units = random_units(seed, 5)
    found = best_stages(units, TWO)
    least = least_by_trying_all(units, TWO)
    assert found.exact
    assert found.seconds == pytest.approx(least, rel=1e-9)


@examples(100)
@given(st.integers(0, 1 << 32), st.integers(1, 12))
def test_stages_are_never_slower_than_what_is_quickly_had(seed: int, count: int) -> None:
    units = random_units(seed, count)
    found = best_stages(units, TWO)
    together = joined(units, found.stages, TWO)
    assert sum(each.seconds for each in together) <= found.seconds * (1 + 1e-9)
    assert found.seconds <= sequential_seconds(units, 2) * (1 + 1e-9)
    for stages in (found.stages, together, greedy(units, TWO), a_branch_a_thread(units, TWO)):
        assert_runs(units, chained(stages))


def assert_runs(units: list[Unit], stages: list[FoundStage]) -> None:
    """Every unit is once there, after all that it reads, and a stage is as long as its groups take."""
    ended: dict[int, float] = {}
    clock = 0.0
    for stage in stages:
        assert sum(stage.threads) <= 2
        here = {unit for group in stage.groups for unit in group}
        times: dict[int, float] = {}
        waiting = [list(group) for group in stage.groups]
        free = [clock] * len(waiting)
        while any(waiting):
            moved = False
            for at, group in enumerate(waiting):
                while group and all(r in ended or r in times for r in units[group[0]].reads):
                    unit = group.pop(0)
                    begin = max([free[at], *(times[r] for r in units[unit].reads if r in here)])
                    free[at] = times[unit] = begin + units[unit].seconds[stage.threads[at]]
                    moved = True
            assert moved, f"groups of {stage} wait for each other"
        ended |= times
        assert max(free) - clock <= stage.seconds + 1e-9
        clock += stage.seconds
    assert sorted(ended) == list(range(len(units)))


@examples(60)
@given(st.integers(0, 1 << 32), st.integers(2, 10))
def test_a_list_schedule_is_within_its_bounds(seed: int, count: int) -> None:
    units = random_units(seed, count)
    stage = list_schedule(range(count), units, TWO)
    work = sum(unit.seconds[1] for unit in units)
    path: dict[int, float] = {}
    for number, unit in enumerate(units):
        path[number] = unit.seconds[1] + max((path[r] for r in unit.reads), default=0.0)
    least = max(work / 2, *path.values())
    most = work / 2 + max(path.values()) + count * TWO.handover + TWO.meeting  # Graham 1969
    assert least <= stage.seconds <= most + 1e-9


def test_a_chain_has_no_stages_of_several_groups() -> None:
    units = [Unit((f"u{n}",), {1: 1.0, 2: 0.9}, (n - 1,) if n else ()) for n in range(8)]
    found = joined(units, best_stages(units, TWO).stages, TWO)
    assert [len(each.groups) for each in chained(found)] == [1]


def test_groups_that_slow_each_other_down_do_not_run_at_once() -> None:
    units = [Unit(("a",), {1: 1.0, 2: 0.6}, ()), Unit(("b",), {1: 1.0, 2: 0.6}, ())]
    assert len(best_stages(units, Terms(threads=2)).stages) == 1
    assert len(best_stages(units, Terms(threads=2, slowdown=1.3)).stages) == 2


def test_four_threads_are_shared() -> None:
    units = [Unit((name,), {1: 4.0, 2: 2.2, 4: 1.9}, ()) for name in "ab"]
    (stage,) = best_stages(units, Terms(threads=4)).stages
    assert (stage.threads, stage.seconds) == ((2, 2), pytest.approx(2.2, abs=1e-4))


def test_blocks_end_where_all_has_been_read_and_all_reads() -> None:
    reads = [(), (0,), (0,), (1, 2), (3,), (3,), (4, 5)]
    units = [Unit((f"u{n}",), {1: 1.0}, each) for n, each in enumerate(reads)]
    assert [*map(list, blocks_of(units))] == [[0], [1, 2, 3], [4, 5, 6]]
    free = [*units, Unit(("free",), {1: 1.0}, ())]
    assert len(blocks_of(free)) == 1
    assert [*map(list, parts_of(free, range(8), 4))] == [[0, 1, 2, 3], [4, 5, 6], [7]]


def test_large_blocks_are_not_called_exact() -> None:
    units = random_units(1, 30)
    assert not best_stages(units, TWO).exact
