from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from sparsegen.kernels.space import KernelSchedule
from sparsegen.tuner.search import SEARCHES, Sampler, Search
from tests.tuner.fakes import Bowl, bowl_ms, bowl_space


def true_times(schedules: Sequence[KernelSchedule]) -> list[float]:
    return [bowl_ms(schedule) for schedule in schedules if isinstance(schedule, Bowl)]


def best_after(search: Search, trials: int, *, seed: int) -> float:
    """The best time of a search whose model knows the times' order."""
    sampler = Sampler(bowl_space(), seed)
    measured: list[tuple[KernelSchedule, float]] = []
    while len(measured) < trials:
        proposals = search.propose(sampler, measured, true_times, min(16, trials - len(measured)))
        measured += [(p.schedule, true_times([p.schedule])[0]) for p in proposals]
    return min(time for _, time in measured)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("size", [3, 32])  # listed, and sampled
def test_proposals_are_legal_and_new(name: str, size: int) -> None:
    space = bowl_space(size)
    sampler = Sampler(space, 0)
    measured: list[tuple[KernelSchedule, float]] = []
    for _ in range(3):
        proposals = SEARCHES[name].propose(sampler, measured, true_times, 8)
        schedules = [proposal.schedule for proposal in proposals]
        assert all(space.legal(schedule) for schedule in schedules)
        assert len({*schedules, *(schedule for schedule, _ in measured)}) == len(schedules) + len(measured)
        measured += zip(schedules, true_times(schedules), strict=True)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_space_is_used_up_completely_and_then_nothing_is_proposed(name: str) -> None:
    space = bowl_space(3)
    sampler, measured = Sampler(space, 0), list[tuple[KernelSchedule, float]]()
    while proposals := SEARCHES[name].propose(sampler, measured, true_times, 8):
        measured += [(proposal.schedule, 1.0) for proposal in proposals]
    assert {schedule for schedule, _ in measured} == set(space.schedules())


@pytest.mark.parametrize("name", SEARCHES)
def test_one_seed_gives_one_search(name: str) -> None:
    first, second = (SEARCHES[name].propose(Sampler(bowl_space(), 7), [], true_times, 12) for _ in range(2))
    assert first == second
    assert SEARCHES[name].propose(Sampler(bowl_space(), 8), [], true_times, 12) != first


def test_evolution_with_a_good_model_beats_chance() -> None:
    evolution = [best_after(SEARCHES["evolution"], 48, seed=seed) for seed in range(3)]
    by_chance = [best_after(SEARCHES["random"], 48, seed=seed) for seed in range(3)]
    assert max(evolution) < min(by_chance)
    assert max(evolution) < 1.1


def test_evolution_keeps_a_share_of_chance_whatever_the_model_says() -> None:
    sampler, origins = Sampler(bowl_space(), 0), list[str]()
    for _ in range(10):
        origins += [each.origin for each in SEARCHES["evolution"].propose(sampler, [], true_times, 16)]
    assert 0.05 < origins.count("random") / len(origins) < 0.3


def test_failures_are_no_parents() -> None:
    failed = [(Bowl(23, 15, depth), math.inf) for depth in range(1, 33) if Bowl(23, 15, depth)]
    proposals = SEARCHES["evolution"].propose(Sampler(bowl_space(), 0), failed, lambda s: [0.0] * len(s), 16)
    assert not {proposal.schedule for proposal in proposals} & {schedule for schedule, _ in failed}


def test_sampling_is_even() -> None:
    drawn = list(itertools.islice(Sampler(bowl_space(), 0).draw(set()), 4000))
    widths = [schedule.as_dict()["width"] for schedule in drawn]
    legal = [schedule.as_dict()["width"] for schedule in bowl_space().schedules()]
    for width in (1, 16, 7, 14):
        assert widths.count(width) / len(widths) == pytest.approx(legal.count(width) / len(legal), abs=0.02)


def test_mutation_moves_to_neighbours_most_often_and_stays_legal() -> None:
    sampler, start = Sampler(bowl_space(), 0), Bowl(16, 16, 16)
    children = [child for child in (sampler.mutate(start) for _ in range(300)) if child is not None]
    assert all(sampler.space.legal(child) for child in children)
    steps = [
        max(abs(int(child.as_dict()[k]) - 16) for k in ("width", "height", "depth")) for child in children
    ]
    assert sum(step <= 1 for step in steps) > len(steps) / 2
    assert max(steps) > 4


def test_a_cross_takes_every_knob_from_a_parent() -> None:
    sampler, parents = Sampler(bowl_space(), 0), (Bowl(2, 4, 6), Bowl(3, 5, 8))
    children = {child for child in (sampler.cross(*parents) for _ in range(100)) if child is not None}
    assert len(children) == 8
    for child in children:
        assert all(value in (p.as_dict()[k] for p in parents) for k, value in child.as_dict().items())
