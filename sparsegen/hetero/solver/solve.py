"""The least makespan of a problem: an exact method where one is fit, else the best of many."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, overload

from sparsegen.errors import OptionError
from sparsegen.hetero.plans.plan import Goal
from sparsegen.hetero.problem.check_problem import checked
from sparsegen.hetero.problem.problem import Pipelining, Problem, Schedule
from sparsegen.hetero.problem.problem_json import parse_problem, read_problem
from sparsegen.hetero.solver import exact
from sparsegen.hetero.solver.beam import beam
from sparsegen.hetero.solver.bounds import ROUNDING, lower_bound, tails
from sparsegen.hetero.solver.candidate import Candidate
from sparsegen.hetero.solver.chain import best_of_chain, is_chain
from sparsegen.hetero.solver.greedy import alone, blocks, greedy, singles
from sparsegen.hetero.solver.heft import by_rank, heft
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.local_search import improve
from sparsegen.hetero.solver.places import some_placement
from sparsegen.hetero.solver.steady import steady
from sparsegen.hetero.solver.throughput import shortest_period
from sparsegen.progress import Listener, Steps
from sparsegen.typed import typed

EXACT_TASKS = 30
"""Problems of more operators are not searched exactly, chains excepted."""

MOST_LABELS = 12_000
"""Partial schedules after which the exact search gives up: some seconds."""

_BEAM_TASKS = 200
_BEAM_WORK = 600  # labels a layer times tasks: some second
_WORK = 16_000  # tasks that the local search times, a task of the problem
_LEAST_WORK, _MOST_WORK = 200_000, 12_000_000

AnyProblem = Problem | Mapping[str, Any] | str | os.PathLike[str]


@overload
def solve(
    problem: AnyProblem,
    goal: Literal["latency"] = "latency",
    *,
    seed: int = 0,
    limit_seconds: float | None = None,
    listen: Listener | None = None,
) -> Schedule: ...


@overload
def solve(
    problem: AnyProblem,
    goal: Literal["throughput"],
    *,
    seed: int = 0,
    limit_seconds: float | None = None,
    listen: Listener | None = None,
) -> Pipelining: ...


@overload
def solve(
    problem: AnyProblem,
    goal: Goal = "latency",
    *,
    seed: int = 0,
    limit_seconds: float | None = None,
    listen: Listener | None = None,
) -> Schedule | Pipelining: ...


@typed
def solve(
    problem: AnyProblem,
    goal: Goal = "latency",
    *,
    seed: int = 0,
    limit_seconds: float | None = None,
    listen: Listener | None = None,
) -> Schedule | Pipelining:
    """Find out where, and when, each operator of a problem runs best.

    problem: the data, a file of schema 1 (see `problem_json`), or what such a file says. goal: "latency", the
    least makespan of one input, or "throughput", the least period of a stream. The same seed gives the same
    answer; limit_seconds, where given, cuts the search short, and then the machine's speed has a say. listen
    is told of each step of the work.

    Raises ProblemError for a problem that is not sound or has no solution, OptionError for an unknown goal or
    a limit that is not above 0.
    """
    if limit_seconds is not None and not limit_seconds > 0:
        raise OptionError(f"limit_seconds is {limit_seconds!r}: give a number above 0, or None")
    until = NEVER if limit_seconds is None else time.monotonic() + limit_seconds
    problem = taken(problem)
    if goal == "throughput":
        return shortest_period(problem, seed=seed, until=until, listen=listen)

    return least_makespan(problem, seed=seed, until=until, listen=listen)


def taken(problem: AnyProblem) -> Problem:
    """A sound problem from what `solve` takes. Raises ProblemError."""
    if isinstance(problem, Problem):
        return checked(problem)
    return parse_problem(problem) if isinstance(problem, Mapping) else read_problem(problem)


def least_makespan(
    problem: Problem, *, seed: int = 0, until: float = NEVER, listen: Listener | None = None
) -> Schedule:
    """The schedule for the goal of latency, of a sound problem; until a time of `time.monotonic`."""
    instance, steps = Instance(problem), Steps(listen, total=4)
    if is_chain(instance):
        steps.begin("dynamic program over the chain")
        candidate = Candidate.of(best_of_chain(instance), list(range(instance.count)), "chain")
        timeline = candidate.timeline(instance)
        return timeline.schedule(timeline.makespan(), optimal=True, method="chain")
    steps.begin("bounds and simple schedules")
    bound, tail = lower_bound(instance), tails(instance)
    best, makespan = _shortest(instance, _simple(instance))
    steps.begin("exact search")
    if not _is_met(makespan, bound) and instance.count <= EXACT_TASKS:
        work = _LEAST_WORK // 8
        best, makespan = _shortest(
            instance, [best, improve(instance, best, tail, bound=bound, work=work, seed=seed, until=until)]
        )
        found = exact.search(instance, makespan, most_labels=MOST_LABELS, until=until)
        best, makespan = _shortest(instance, [best, *([found.better] if found.better else [])])
        bound = min(makespan, max(bound, found.bound))
    steps.begin("beam search")
    if not _is_met(makespan, bound) and instance.count <= _BEAM_TASKS:
        width = max(2, _BEAM_WORK // instance.count)
        better = beam(instance, makespan, width=width, until=until)
        best, makespan = _shortest(instance, [best, *([better] if better else [])])
    steps.begin("local search")
    if not _is_met(makespan, bound):
        work = min(_MOST_WORK, max(_LEAST_WORK, _WORK * instance.count))
        better = improve(instance, best, tail, bound=bound, work=work, seed=seed, until=until)
        best, makespan = _shortest(instance, [best, better])
    optimal = _is_met(makespan, bound)
    bound = makespan if optimal else min(bound, makespan)
    return best.timeline(instance).schedule(bound, optimal=optimal, method=best.method)


def best_alone(problem: Problem, goal: Goal = "latency") -> tuple[str, float] | None:
    """The fastest of `seconds_alone`, None where no device can run all of a sound problem."""
    found = seconds_alone(problem, goal)
    return min(found.items(), key=lambda item: item[1], default=None)


def seconds_alone(problem: Problem, goal: Goal) -> dict[str, float]:
    """By device that can run all of a sound problem on its own: its makespan, or its period in a stream.

    Inputs and results may be elsewhere, as in `greedy.alone`.
    """
    instance = Instance(problem)
    timed = {instance.device_names[on]: goal_seconds(instance, each, goal) for on, each in alone(instance)}
    return {name: seconds for name, seconds in timed.items() if seconds < NEVER}


def goal_seconds(instance: Instance, candidate: Candidate, goal: Goal) -> float:
    """A candidate's makespan, or the least period of a stream that is placed as it is; NEVER for none."""
    if goal == "latency":
        return candidate.timeline(instance).makespan()
    return steady(instance, candidate.placement).period


def _simple(instance: Instance) -> Iterator[Candidate]:
    """What is quickly had; one of them at least."""
    found = [*singles(instance), heft(instance), greedy(instance)]
    found += [blocks(instance, order) for order in (list(range(instance.count)), by_rank(instance))]
    there = [each for each in found if each is not None]
    if not there:
        there = [Candidate.of(some_placement(instance), list(range(instance.count)), "some placement")]
    yield from there


def _shortest(
    instance: Instance, candidates: Iterator[Candidate] | list[Candidate]
) -> tuple[Candidate, float]:
    """The first of those with the least makespan, and that."""
    timed = [(each.timeline(instance).makespan(), each) for each in candidates]
    makespan, best = min(timed, key=lambda each: each[0])
    return best, makespan


def _is_met(makespan: float, bound: float) -> bool:
    return makespan <= bound * (1 + ROUNDING)
