"""Inter-operator parallelism on one CPU: stages found, compiled, measured, and taken where they gain.

The times of layers, on all threads and on one, come from calls in turn; the search (`stages`) finds stages;
what it found is compiled and timed beside the sequential program. How much groups at once slow each other
down is measured in the first round, and the search repeated with it. The best stages are timed once more at
the end, as the best of several is the luckiest, too. Where nothing is gained, the plan *is* the sequential
one, on all threads or on one: a second thread may cost more than it does, on a machine that others load.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsegen.compiler import check_threads, compile_plan, default_plan
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.measure import Timed, call_seconds, in_turn, rounds_in_turn
from sparsegen.hetero.stages.handover import joined
from sparsegen.hetero.stages.rounds import Rounds
from sparsegen.hetero.stages.search import FoundStage, Terms, best_stages, chained
from sparsegen.hetero.stages.units import Times, Unit, units_of
from sparsegen.kernels.plan import PlannedGraph
from sparsegen.kernels.stages import LayerGroup, LayerStage
from sparsegen.progress import Listener, Steps
from sparsegen.runtime.model import CompiledModel

_UNITS = 100  # a unit takes at most this part of the model's time on one thread
_ROUNDS = 2  # of search and measurement
SEQUENTIAL, ONE_THREAD, STAGES = "sequential", "one thread", "stages"
"""What whole calls are timed of: our program on all threads, on one, and in stages."""
_SEQUENTIAL = (SEQUENTIAL, ONE_THREAD)
_NONE_FOUND = "none is predicted to gain"


@dataclass(frozen=True, eq=False)
class Staged:
    """A model in stages, or the sequential one where that is as fast, and what was measured.

    seconds: medians of a call in the same rounds, by "sequential", "one thread" and "stages"; of what was
    called. times: of layers by threads. slowdown: of groups at once. found: the stages, of `units`; empty
    where the plan is the sequential one; `why` it is. one_thread: whether the program on one thread gains
    over that on all, in most rounds.
    """

    model: CompiledModel
    found: tuple[FoundStage, ...]
    units: tuple[Unit, ...]
    seconds: Mapping[str, float]
    times: Times
    slowdown: float
    why: str = ""
    one_thread: bool = False

    @property
    def gains(self) -> bool:
        """Whether stages are taken."""
        return bool(self.found)


def stage(
    graph: LayerGraph, inputs: Sequence[Any], *, threads: int | None = None, listen: Listener | None = None
) -> Staged:
    """The fastest of a model's sequential program and its stages, with these inputs, on so many threads.

    Raises SparsegenError where the model cannot be compiled or called.
    """
    threads = check_threads(threads)
    steps = Steps(listen, total=3 + 2 * _ROUNDS)
    steps.begin("compiling for one thread and for all")
    shares = sorted({1, threads, *(threads // count for count in range(2, threads + 1))})
    plans = {share: default_plan(graph, share) for share in shares}
    models = {share: compile_plan(plan) for share, plan in plans.items()}
    steps.begin("timing layers")
    calls = [_layers_of(models[share], inputs) for share in shares]
    measured = dict(zip(shares, in_turn(calls), strict=True))
    times = {name: {share: measured[share][name] for share in shares} for name in measured[threads]}
    base = Staged(models[threads], (), (), {}, times, 1.0)
    if threads == 1:
        return base
    return _rounds(base, plans[threads], models, inputs, steps)


def _rounds(
    base: Staged,
    plan: PlannedGraph,
    models: Mapping[int, CompiledModel],
    inputs: Sequence[Any],
    steps: Steps,
) -> Staged:
    """The best stages, timed again, where they gain; else the sequential program."""
    best, timed = _searched(base, plan, models, inputs, steps)
    if timed is not None and timed.gains(STAGES, _SEQUENTIAL):
        steps.begin("timing the best stages again")
        timed = _whole_calls(models, best.model, inputs)
        if timed.gains(STAGES, _SEQUENTIAL):
            return replace(best, seconds=timed.medians)
    if timed is None and _sum(base.times, 1) < _sum(base.times, plan.context.threads):
        steps.begin("timing one thread")
        timed = _whole_calls(models, None, inputs)
    return _in_sequence(best, timed, models)


def _searched(
    base: Staged,
    plan: PlannedGraph,
    models: Mapping[int, CompiledModel],
    inputs: Sequence[Any],
    steps: Steps,
) -> tuple[Staged, Rounds | None]:
    """The best stages of some searches, later ones with what was learnt of the slowdown, and their rounds."""
    alone = _sum(base.times, 1)
    units = tuple(units_of(plan.graph, base.times, longest=alone / _UNITS))
    best, terms = replace(base, units=units), Terms(threads=plan.context.threads)
    timed: Rounds | None = None
    for _ in range(_ROUNDS):
        steps.begin(f"searching stages of {len(units)} units")
        found = chained(joined(units, best_stages(units, terms).stages, terms))
        if all(len(each.groups) == 1 for each in found):
            break
        model = compile_plan(plan.staged(layer_stages(found, units)))
        steps.begin("timing stages")
        now = _whole_calls(models, model, inputs)
        if timed is None or _rank(now) < _rank(timed):
            timed = now
            best = replace(best, model=model, found=tuple(found), slowdown=terms.slowdown)
        slowdown = _slowdown(found, units, models[1], model, inputs)
        if abs(slowdown / terms.slowdown - 1) < 0.05:
            break
        terms = replace(terms, slowdown=slowdown)
    return best, timed


def _rank(timed: Rounds) -> tuple[bool, float]:
    """What is the least of the best stages: those that gain come first."""
    return not timed.gains(STAGES, _SEQUENTIAL), timed.ratio(STAGES, _SEQUENTIAL)


def _in_sequence(best: Staged, timed: Rounds | None, models: Mapping[int, CompiledModel]) -> Staged:
    """The sequential program, on all threads or on one, by what was timed."""
    if timed is None:
        return replace(best, model=models[max(models)], found=(), slowdown=1.0, why=_NONE_FOUND)
    one_thread = timed.gains(ONE_THREAD, [SEQUENTIAL])
    return replace(
        best,
        model=models[1 if one_thread else max(models)],
        found=(),
        slowdown=1.0,
        seconds=timed.medians,
        why=timed.told(STAGES, _SEQUENTIAL) if best.found else _NONE_FOUND,
        one_thread=one_thread,
    )


def _sum(times: Times, threads: int) -> float:
    return sum(seconds[threads] for seconds in times.values())


def layer_stages(found: Sequence[FoundStage], units: Sequence[Unit]) -> list[LayerStage]:
    """Stages of units as stages of layers."""
    return [
        tuple(
            LayerGroup(tuple(layer for unit in group for layer in units[unit].layers), threads)
            for group, threads in zip(each.groups, each.threads, strict=True)
        )
        for each in found
    ]


def _layers_of(model: CompiledModel, inputs: Sequence[Any]) -> Timed:
    return lambda: call_seconds(model, inputs)


def _whole_calls(
    models: Mapping[int, CompiledModel], staged: CompiledModel | None, inputs: Sequence[Any]
) -> Rounds:
    called = {SEQUENTIAL: models[max(models)], ONE_THREAD: models[1]}
    called |= {} if staged is None else {STAGES: staged}
    return Rounds(rounds_in_turn({name: functools.partial(each, *inputs) for name, each in called.items()}))


def _slowdown(
    found: Sequence[FoundStage],
    units: Sequence[Unit],
    alone: CompiledModel,
    staged: CompiledModel,
    inputs: Sequence[Any],
) -> float:
    """How many times as long layers take beside other groups as alone on one thread; at least 1."""
    beside = {
        layer
        for each in found
        if len(each.groups) > 1
        for group, threads in zip(each.groups, each.threads, strict=True)
        if threads == 1
        for unit in group
        for layer in units[unit].layers
    }
    one, together = in_turn([_layers_of(alone, inputs), _layers_of(staged, inputs)])
    sums = [sum(seconds for name, seconds in each.items() if name in beside) for each in (together, one)]
    return max(1.0, sums[0] / sums[1]) if sums[1] else 1.0
