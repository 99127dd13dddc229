"""How much cores slow each other down that all run a model at once: they share memory, caches and clock."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sparsegen.devices import Machine
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.costs.layer_costs import setting
from sparsegen.hetero.costs.measure import join, on_cores
from sparsegen.hetero.costs.mixing import program
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.plans.plan import OURS

_ROUNDS = 7
_CALLS = 3  # of a round, on each core


def beside_each_other(
    graph: LayerGraph, costs: Costs, machine: Machine, inputs: Sequence[Any], cache: CostCache
) -> Costs:
    """The costs of operators on cores that are all busy: those of each core alone, times one factor.

    The factor is measured, and kept: whole calls of the model on every core at once, in turn with such on one
    core alone. Raises SparsegenError where the model cannot be compiled or run.
    """
    cores = [device for device in machine.devices if device.kind == "cpu" and len(device.cores) == 1]
    if len(cores) < 2:
        return costs
    first = cores[0]
    implementation = costs.chosen.get(first.name, OURS)
    key = f"{model_fingerprint(graph)} {len(cores)} at once {setting(first, implementation)}"
    known = cache.read([key])
    if key not in known:
        by_torch = costs.by_torch.get(first.name, frozenset())

        def made(core: int) -> Callable[[], Any]:
            compiled = on_cores([core], lambda: program(implementation, graph, by_torch, 1))
            return lambda: compiled(*inputs)

        known = {key: slowdown({core: made(core) for device in cores for core in device.cores})}
        cache.write(known)
    names = {device.name for device in cores}
    scaled = {
        operator: tuple(
            replace(each, seconds=each.seconds * known[key]) if each.device in names else each
            for each in found
        )
        for operator, found in costs.costs.items()
    }
    return replace(costs, costs=scaled)


def slowdown(calls: dict[int, Callable[[], Any]]) -> float:
    """How many times as long a call takes on the first core while all cores make theirs; at least 1."""
    first = next(iter(calls))
    alone, together = list[float](), list[float]()
    for turn in range(_ROUNDS + 1):
        for seconds, cores in ((alone, [first]), (together, [*calls])):
            measured = _at_once({core: calls[core] for core in cores})
            if turn:  # the first round warms up
                seconds += measured
    return max(1.0, statistics.median(together) / statistics.median(alone))


def _at_once(calls: dict[int, Callable[[], Any]]) -> list[float]:
    """Seconds of each call on each core, all cores starting together; only those of the first core count."""
    barrier, found = threading.Barrier(len(calls)), dict[int, list[float]]()

    def work(core: int) -> None:
        barrier.wait()
        seconds = found.setdefault(core, [])
        for _ in range(_CALLS):
            begun = time.perf_counter()
            calls[core]()
            seconds.append(time.perf_counter() - begun)

    threads = [
        threading.Thread(target=on_cores, args=([core], lambda core=core: work(core)), daemon=True)
        for core in calls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    return found[next(iter(calls))]
