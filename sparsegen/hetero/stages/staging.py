"""Inter-operator parallelism on one CPU: stages found, compiled, measured, and taken where they gain.

The times of layers, on all threads and on one, come from calls in turn; the search (`stages`) finds stages;
what it found is compiled and timed beside the sequential program. How much groups at once slow each other
down is measured in the first round, and the search repeated with it. Where nothing is gained, the plan *is*
the sequential one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsegen.compiler import check_threads, compile_plan, find_tuned
from sparsegen.database.assign import as_database
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.measure import Timed, call_seconds, in_turn, seconds_in_turn
from sparsegen.hetero.stages.handover import joined
from sparsegen.hetero.stages.search import FoundStage, Terms, best_stages, chained
from sparsegen.hetero.stages.units import Times, Unit, units_of
from sparsegen.kernels.plan import PlannedGraph, plan_graph
from sparsegen.kernels.stages import LayerGroup, LayerStage
from sparsegen.progress import Listener, Steps
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import parse_target

LEAST_GAIN = 0.02
"""Share of the sequential program's time that stages have to gain, beyond the noise, to be taken."""
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
    steps = Steps(listen, total=2 + 2 * _ROUNDS)
    steps.begin("compiling for one thread and for all")
    shares = sorted({1, threads, *(threads // count for count in range(2, threads + 1))})
    plans = {share: sequential_plan(graph, share) for share in shares}
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
        seconds = _whole_calls(
            {"sequential": models[threads], "one thread": models[1], "stages": model}, inputs
        )
        if seconds["stages"] < (1 - LEAST_GAIN) * min(seconds["sequential"], seconds["one thread"]):
            if not best.gains or _relative(seconds) < _relative(best.seconds):
                best = replace(
                    best,
                    model=model,
                    found=tuple(found),
                    units=units,
                    seconds=seconds,
                    slowdown=terms.slowdown,
                )
        elif not best.seconds:
            best = replace(best, seconds=seconds)
        slowdown = _slowdown(found, units, models[1], model, inputs)
        if abs(slowdown / terms.slowdown - 1) < 0.05:
            break
        terms = replace(terms, slowdown=slowdown)
    if not best.gains and best.seconds.get("one thread", 1.0) < best.seconds.get("sequential", 0.0):
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


def sequential_plan(graph: LayerGraph, threads: int) -> PlannedGraph:
    """The plan of the sequential program on so many threads, with the shipped schedules."""
    plan = plan_graph(graph, threads=threads, target=parse_target())
    return find_tuned(plan, as_database("shipped"))


def _layers_of(model: CompiledModel, inputs: Sequence[Any]) -> Timed:
    return lambda: call_seconds(model, inputs)


def _whole_calls(models: Mapping[str, CompiledModel], inputs: Sequence[Any]) -> dict[str, float]:
    return seconds_in_turn({name: functools.partial(model, *inputs) for name, model in models.items()})


def _relative(seconds: Mapping[str, float]) -> float:
    return seconds["stages"] / min(seconds["sequential"], seconds["one thread"])


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
