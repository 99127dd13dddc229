"""Seconds of a model's layers on the devices that are here: known from before, measured, or predicted.

Layers are timed in whole calls of the model (see `measure`), once for all layers that are alike. Kept are the
seconds of a layer by its digest, the implementation, the cores' CPU and number, and the versions of what
computes it; and the calls that were timed, for `prediction` to learn from.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

from sparsegen.compiler import compile_graph
from sparsegen.cost import Origin, least_sure
from sparsegen.devices import Device
from sparsegen.errors import PlanError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.calls import Call, our_calls, source_of, torch_calls
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.measure import Timed, call_seconds, in_turn, on_cores
from sparsegen.hetero.costs.training import keep, predictor
from sparsegen.hetero.operators.cut import part_of
from sparsegen.hetero.operators.fingerprint import fingerprint
from sparsegen.hetero.plans.plan import OURS, TORCH
from sparsegen.target import parse_target
from sparsegen.torch_graph.graph import TorchGraph


@dataclass(frozen=True)
class LayerCost:
    """Seconds of a layer, and how they are known."""

    seconds: float
    origin: Origin


def layer_costs(
    graph: LayerGraph, device: Device, inputs: Sequence[Any], cache: CostCache, *, measure: bool = True
) -> dict[str, dict[str, LayerCost]]:
    """The costs of all layers by implementation and name: from the cache, where it has them.

    Where it lacks some, all are measured with these inputs, or, unless `measure`, those are predicted.

    Raises PredictionError where too little was measured to predict from, and SparsegenError for a model that
    cannot be compiled or run.
    """
    keys = _layer_keys(graph)
    of_layer = {
        implementation: {name: f"{key} {setting(device, implementation)}" for name, key in keys.items()}
        for implementation in ((OURS, TORCH) if device.kind == "cpu" else (TORCH,))
    }
    wanted = {key for found in of_layer.values() for key in found.values()}
    known = cache.read(wanted)
    if known.keys() != wanted and measure:
        known = _measured(graph, device, inputs, of_layer, cache)
    costs = {}
    for implementation, names in of_layer.items():
        missing = [name for name, key in names.items() if key not in known]
        costs[implementation] = {
            name: LayerCost(known[key], "measured") for name, key in names.items() if key in known
        } | (_predicted(graph, device, implementation, missing, cache) if missing else {})
    return costs


def setting(device: Device, implementation: str) -> str:
    """All but the layer that decides its seconds: the implementation, the device, the versions."""
    return f"{implementation} {_place(device.kind, len(device.cores), device.index)} {versions()}"


def calls_of(graph: LayerGraph, device: Device, implementation: str) -> list[Call]:
    """The calls of a graph on a device, by an implementation."""
    threads = max(1, len(device.cores))
    return our_calls(graph, threads) if implementation == OURS else torch_calls(graph, threads)


def _predicted(
    graph: LayerGraph, device: Device, implementation: str, names: Sequence[str], cache: CostCache
) -> dict[str, LayerCost]:
    """The costs of some layers: their calls' together; a layer that needs none takes nothing."""
    model = predictor(cache, setting(device, implementation))
    calls = calls_of(graph, device, implementation)
    seconds = dict.fromkeys(names, 0.0)
    origins: dict[str, Origin] = dict.fromkeys(names, "predicted")
    for call, (value, origin) in zip(calls, model.predict(calls), strict=True):
        if call.layer in seconds:
            seconds[call.layer] += value
            origins[call.layer] = least_sure(origins[call.layer], origin)
    return {name: LayerCost(seconds[name], origins[name]) for name in names}


def _measured(
    graph: LayerGraph,
    device: Device,
    inputs: Sequence[Any],
    of_layer: Mapping[str, Mapping[str, str]],
    cache: CostCache,
) -> dict[str, float]:
    """Seconds of all layers by their keys, measured; the cache keeps them, and the calls."""
    totals: defaultdict[str, list[float]] = defaultdict(list)
    source = source_of(graph)
    for implementation, calls in _measure(graph, device, inputs, list(of_layer)).items():
        keep(cache, setting(device, implementation), calls_of(graph, device, implementation), calls)
        layers: defaultdict[str, float] = defaultdict(float)
        for name, value in calls.items():
            layers[source(name)] += value
        for name, key in of_layer[implementation].items():
            totals[key].append(layers.get(name, 0.0))
    known = {key: sum(values) / len(values) for key, values in totals.items()}
    cache.write(known)
    return known


def _measure(
    graph: LayerGraph, device: Device, inputs: Sequence[Any], implementations: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Seconds of all calls by name, by implementation."""
    if device.kind == "cuda":
        place = torch.device("cuda", device.index or 0)
        there = [value.to(place) for value in inputs]
        on_gpu = TorchGraph(graph, place)
        return dict(zip(implementations, in_turn([lambda: on_gpu.layer_seconds(*there)]), strict=True))

    def work() -> list[dict[str, float]]:
        ours = compile_graph(graph, threads=len(device.cores))
        theirs = TorchGraph(graph)
        calls: list[Timed] = [
            lambda: call_seconds(ours, inputs),
            lambda: theirs.layer_seconds(*inputs),
        ]
        return in_turn(calls)

    return dict(zip(implementations, on_cores(device.cores, work), strict=True))


def _layer_keys(graph: LayerGraph) -> dict[str, str]:
    """The digest of each layer; of those that stay with another one, theirs together is with that."""
    keys = {}
    for layer in graph.layers:
        try:
            keys[layer.name] = fingerprint(part_of(graph, [layer.name]))
        except PlanError:  # one of several results: it stays with the operator
            keys[layer.name] = hashlib.blake2b(f"{layer.core} {layer.shape}".encode()).hexdigest()
    return keys


@functools.cache
def _place(kind: str, cores: int, index: int | None) -> str:
    if kind == "cuda":
        return torch.cuda.get_device_name(index or 0)
    return f"{parse_target().name} x{cores}"


@functools.cache
def versions() -> str:
    """Those of all that decides how fast a layer is."""
    return " ".join(f"{name}={metadata.version(name)}" for name in ("sparsegen", "torch", "apache-tvm"))
