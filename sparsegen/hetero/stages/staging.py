"""Inter-operator parallelism on one CPU: stages found, compiled, measured, and taken where they gain.

The times of layers, on all threads and on one, come from calls in turn; the search (`stages`) finds stages;
what it found is compiled and timed beside the sequential program. How much groups at once slow each other
down is measured in the first round, and the search repeated with it. The best stages are timed once more at
the end, as the best of several is the luckiest, too. Where nothing is gained, the plan *is* the sequential
one.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsegen.compiler import check_threads, compile_plan, default_plan
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.measure import Timed, call_seconds, in_turn, rounds_in_turn
from sparsegen.hetero.stages.handover import joined
from sparsegen.hetero.stages.search import FoundStage, Terms, best_stages, chained
from sparsegen.hetero.stages.units import Times, Unit, units_of
from sparsegen.kernels.plan import PlannedGraph
from sparsegen.kernels.stages import LayerGroup, LayerStage
from sparsegen.progress import Listener, Steps
from sparsegen.runtime.model import CompiledModel

LEAST_GAIN = 0.02
"""Share of the sequential program's time that stages have to gain to be taken, in most rounds of calls."""
_MOST = 0.75  # share of the rounds
_UNITS = 100  # a unit takes at most this part of the model's time on one thread
_ROUNDS = 2  # of search and measurement


@dataclass(frozen=True, eq=False)
class Staged:
    """A model in stages, or the sequential one where that is as fast, and what was measured.

    seconds: medians of a call, by "sequential", "one thread" and "stages". times: of layers by threads.
    slowdown: of groups at once. found: the stages, of `units`; empty where the plan
    is the sequential one.
    """

    model: CompiledModel
    found: tuple[FoundStage, ...]
    units: tuple[Unit, ...]
    seconds: Mapping[str, float]
    times: Times
    slowdown: float

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
    """Search, compile and measure; again with what was learnt of the slowdown."""
    threads = plan.context.threads
    alone = sum(seconds[1] for seconds in base.times.values())
    units = tuple(units_of(plan.graph, base.times, longest=alone / _UNITS))
    best, terms = replace(base, units=units), Terms(threads=threads)
    for _ in range(_ROUNDS):
        steps.begin(f"searching stages of {len(units)} units")
        found = chained(joined(units, best_stages(units, terms).stages, terms))
        if all(len(each.groups) == 1 for each in found):
            break
        model = compile_plan(plan.staged(layer_stages(found, units)))
        steps.begin("timing stages")
        timed = _whole_calls(models, model, inputs)
        if timed.gains and (not best.gains or timed.ratio < _ratio(best.seconds)):
            best = replace(
                best, model=model, found=tuple(found), seconds=timed.medians, slowdown=terms.slowdown
            )
        elif not best.seconds:
            best = replace(best, seconds=timed.medians)
        slowdown = _slowdown(found, units, models[1], model, inputs)
        if abs(slowdown / terms.slowdown - 1) < 0.05:
            break
        terms = replace(terms, slowdown=slowdown)
    if best.gains:
        steps.begin("timing the best stages again")
        timed = _whole_calls(models, best.model, inputs)
        if timed.gains:
            return replace(best, seconds=timed.medians)
        best = replace(best, model=models[threads], found=(), seconds=timed.medians, slowdown=1.0)
    if best.seconds.get("one thread", 1.0) < best.seconds.get("sequential", 0.0):
        return replace(best, model=models[1])
    return best


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


@dataclass(frozen=True)
class _Timed:
    """Seconds of whole calls, by what was called, round by round."""

    rounds: Mapping[str, Sequence[float]]

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.rounds.items()}

    @property
    def ratio(self) -> float:
        """The stages' median over that of the better sequential program."""
        return _ratio(self.medians)

    @property
    def gains(self) -> bool:
        """Whether stages gain enough in most rounds, each beside the sequential program in its round."""
        medians = self.medians
        best = min(("sequential", "one thread"), key=lambda name: medians[name])
        rounds = zip(self.rounds["stages"], self.rounds[best], strict=True)
        won = [stages < (1 - LEAST_GAIN) * alone for stages, alone in rounds]
        return sum(won) >= _MOST * len(won)


def _ratio(medians: Mapping[str, float]) -> float:
    return medians["stages"] / min(medians["sequential"], medians["one thread"])


def _whole_calls(models: Mapping[int, CompiledModel], staged: CompiledModel, inputs: Sequence[Any]) -> _Timed:
    called = {"sequential": models[max(models)], "one thread": models[1], "stages": staged}
    return _Timed(rounds_in_turn({name: functools.partial(each, *inputs) for name, each in called.items()}))


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
