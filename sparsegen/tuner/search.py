"""Which schedules to try next: by evolution under the cost model, or by chance."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sparsegen.database.trial import Origin
from sparsegen.kernels.space import KernelSchedule, Point, Space

_SMALL = 20_000  # points, legal or not, up to which a space is listed instead of sampled
_TRIES = 20_000  # points drawn in vain after which a space counts as used up

_ELITE = 12  # of the best measured, that begin a generation
_POPULATION = 96
_CHILDREN = 128
_GENERATIONS = 4
_CROSSED = 0.5  # share of children of two parents
_NEAR = 0.7  # share of mutations that move a knob to a neighbouring value
_RANDOM = 0.15  # share of what is proposed by chance, whatever the model says

Score = Callable[[Sequence[KernelSchedule]], Sequence[float]]
"""Predictions for schedules, lower for faster."""


@dataclass(frozen=True)
class Proposal:
    """A schedule to try, and who proposed it."""

    schedule: KernelSchedule
    origin: Origin


class Search(Protocol):
    """A strategy; `name` is what trials record."""

    name: str

    def propose(
        self, sampler: Sampler, measured: Sequence[tuple[KernelSchedule, float]], score: Score, count: int
    ) -> list[Proposal]:
        """At most `count` schedules that were not tried; fewer only where the space is used up.

        `measured` are the schedules tried, with their times in milliseconds, infinite for failures.
        """


class Sampler:
    """Draws legal schedules of a space, each point equally likely."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.rng = random.Random(seed)
        points = math.prod(len(values) for values in space.knobs.values())
        self._listed = list(space.schedules()) if points <= _SMALL else None

    def draw(self, seen: set[KernelSchedule]) -> Iterator[KernelSchedule]:
        """Schedules not in `seen`, none twice, until the space is used up."""
        if self._listed is not None:
            unseen = [schedule for schedule in self._listed if schedule not in seen]
            self.rng.shuffle(unseen)
            yield from unseen
            return
        drawn: set[KernelSchedule] = set()
        misses = 0
        while misses < _TRIES:
            point = {name: self.rng.choice(values) for name, values in self.space.knobs.items()}
            schedule = self.space.make(**point)
            if schedule in seen or schedule in drawn or not self.space.legal(schedule):
                misses += 1
                continue
            misses = 0
            drawn.add(schedule)
            yield schedule

    def mutate(self, schedule: KernelSchedule) -> KernelSchedule | None:
        """A schedule with one or two knobs changed, most often to a neighbouring value; None: not legal."""
        point = schedule.as_dict()
        movable = [name for name, values in self.space.knobs.items() if len(values) > 1]
        if not movable:
            return None
        for name in self.rng.sample(movable, min(len(movable), self.rng.choice((1, 1, 2)))):
            values = self.space.knobs[name]
            if point[name] in values and self.rng.random() < _NEAR:
                at = values.index(point[name]) + self.rng.choice((-1, 1))
                point[name] = values[min(max(at, 0), len(values) - 1)]
            else:
                point[name] = self.rng.choice(values)
        return self._legal(point)

    def cross(self, first: KernelSchedule, second: KernelSchedule) -> KernelSchedule | None:
        """A schedule with every knob from one of two parents; None: not legal."""
        one, other = first.as_dict(), second.as_dict()
        return self._legal({name: self.rng.choice((one[name], other[name])) for name in self.space.knobs})

    def _legal(self, point: Point) -> KernelSchedule | None:
        schedule = self.space.make(**point)
        return schedule if self.space.legal(schedule) else None


class RandomSearch:
    """Legal schedules by chance: what every other strategy has to beat."""

    name = "random"

    def propose(
        self, sampler: Sampler, measured: Sequence[tuple[KernelSchedule, float]], score: Score, count: int
    ) -> list[Proposal]:
        """As `Search.propose`."""
        seen = {schedule for schedule, _ in measured}
        return [Proposal(schedule, "random") for schedule in itertools.islice(sampler.draw(seen), count)]


class EvolutionarySearch:
    """Generations bred from the best measured, the default and chance, selected by the cost model.

    A share of what is proposed stays random, so that the model also learns where it sees no promise.
    """

    name = "evolution"

    def propose(
        self, sampler: Sampler, measured: Sequence[tuple[KernelSchedule, float]], score: Score, count: int
    ) -> list[Proposal]:
        """As `Search.propose`."""
        seen = {schedule for schedule, _ in measured}
        by_chance = sum(sampler.rng.random() < _RANDOM for _ in range(count))
        ranked = self._evolve(sampler, measured, score)
        chosen = [schedule for schedule in ranked if schedule not in seen][: count - by_chance]
        proposals = [Proposal(schedule, "model") for schedule in chosen]
        drawn = sampler.draw(seen | set(chosen))
        return proposals + [Proposal(each, "random") for each in itertools.islice(drawn, count - len(chosen))]

    def _evolve(
        self, sampler: Sampler, measured: Sequence[tuple[KernelSchedule, float]], score: Score
    ) -> list[KernelSchedule]:
        """Every schedule that was bred, the most promising first."""
        best = sorted(measured, key=lambda each: each[1])[:_ELITE]
        elite = [schedule for schedule, time in best if time < math.inf]
        elite.append(sampler.space.default)  # good already, as a rule
        population = list(dict.fromkeys([*elite, *itertools.islice(sampler.draw(set()), _POPULATION)]))
        scores = dict(zip(population, score(population), strict=True))
        for _ in range(_GENERATIONS):
            parents = sorted(population, key=scores.__getitem__)[:_POPULATION]
            # These stay parents, whatever the model thinks of them.
            parents = list(dict.fromkeys([*elite, *parents]))
            children = {self._child(sampler, parents) for _ in range(_CHILDREN)} - {None}
            born = [each for each in children if each is not None and each not in scores]
            born.sort(key=lambda each: tuple(map(str, each.as_dict().values())))  # sets have no order
            scores.update(zip(born, score(born) if born else (), strict=True))
            population = [*parents, *born]
        return sorted(scores, key=scores.__getitem__)

    def _child(self, sampler: Sampler, parents: Sequence[KernelSchedule]) -> KernelSchedule | None:
        """Of parents drawn from the ranked ones, the first the likeliest."""

        def parent() -> KernelSchedule:
            return parents[int(len(parents) * sampler.rng.random() ** 2)]

        if sampler.rng.random() < _CROSSED:
            child = sampler.cross(parent(), parent())
            return sampler.mutate(child) if child is not None and sampler.rng.random() < _CROSSED else child
        return sampler.mutate(parent())


SEARCHES: dict[str, Search] = {each.name: each for each in (EvolutionarySearch(), RandomSearch())}
