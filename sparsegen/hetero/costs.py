"""What operators cost: measured on the devices that are here, told by their tables elsewhere.

A device of another package's kind tells what it can; operators that it cannot tell of are timed there.

Layers are timed in whole calls of the model (see `measure`), once for all layers that are alike, and an
operator costs what its layers do together. Kept are the seconds of a layer by its digest, the
implementation, the cores' CPU and number, and the versions of what computes it.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import torch

from sparsegen.compiler import compile_graph
from sparsegen.devices import Device, Machine, cost_on, describe_graph
from sparsegen.errors import PlanError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.cost_cache import CostCache
from sparsegen.hetero.cut import part_of
from sparsegen.hetero.export import OperatorCost
from sparsegen.hetero.fingerprint import fingerprint
from sparsegen.hetero.measure import Timed, in_turn, on_cores
from sparsegen.hetero.operators import Operator
from sparsegen.hetero.outside import place_of, seconds_there
from sparsegen.hetero.torch_graph import TorchGraph
from sparsegen.progress import Listener, Steps
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import parse_target

OURS, TORCH, EMULATED = "ours", "torch", "emulated"
"""Implementations: our kernels and torch's on cores, torch's on a GPU; what stands in for a table.

On a device of an outside kind the implementation is called as the kind is."""

LayerSeconds = Mapping[str, float]
"""By layer of the model's graph."""


@dataclass(frozen=True, eq=False)
class Costs:
    """What each operator costs on each device, by each implementation; and why devices do not run some.

    reasons: by operator and device, a phrase. chosen: by device, the implementation that runs all of its
    operators; elsewhere each has its fastest. by_torch: by device, the layers that torch computes within our
    programs, see `mixing`.
    """

    costs: Mapping[str, tuple[OperatorCost, ...]]
    reasons: Mapping[tuple[str, str], str]
    chosen: Mapping[str, str] = field(default_factory=dict)
    by_torch: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def best(self, operator: str, device: str) -> OperatorCost | None:
        """The cost of an operator on a device as it runs there; None where that does not run it."""
        there = [each for each in self.costs[operator] if each.device == device]
        chosen = self.chosen.get(device)
        if chosen is not None:
            there = [each for each in there if each.implementation == chosen]
        return min(there, key=lambda each: each.seconds, default=None)


def cost_operators(
    graph: LayerGraph,
    operators: Sequence[Operator],
    machine: Machine,
    inputs: Sequence[Any],
    *,
    cache: CostCache,
    listen: Listener | None = None,
) -> Costs:
    """The costs of a model's operators on a machine, with these inputs.

    Raises SparsegenError where a device is not here, or the model cannot be compiled or run.
    """
    keys = _layer_keys(graph)
    found: defaultdict[str, list[OperatorCost]] = defaultdict(list)
    reasons: dict[tuple[str, str], str] = {}
    steps = Steps(listen, total=len(machine.devices))
    for device in machine.devices:
        steps.begin(f"costs on {device.name}")
        if device.kind in ("cpu", "cuda"):
            for implementation, seconds in _measured(graph, device, inputs, keys, cache).items():
                threads = max(1, len(device.cores))
                for each in operators:
                    total = sum(seconds.get(name, 0.0) for name in each.layers)
                    cost = OperatorCost(device.name, implementation, threads, total, "measured")
                    found[each.name].append(cost)
        else:
            _told(graph, device, operators, cache, found, reasons)
    return Costs({each.name: tuple(found[each.name]) for each in operators}, reasons)


def _told(
    graph: LayerGraph,
    device: Device,
    operators: Iterable[Operator],
    cache: CostCache,
    found: defaultdict[str, list[OperatorCost]],
    reasons: dict[tuple[str, str], str],
) -> None:
    """Costs that a device's kind tells; where it has not all of an operator's, that is timed there."""
    described = describe_graph(graph)
    implementation = EMULATED if device.profile is not None else device.kind
    for each in operators:
        told = {name: cost_on(device, described[name]) for name in each.layers}
        known = {name: cost for name, cost in told.items() if cost is not None}
        refused = [(name, cost.reason) for name, cost in known.items() if cost.reason]
        if refused:
            name, reason = refused[-1]
            reasons[each.name, device.name] = f"layer {name}: {reason}"
            continue
        if len(known) == len(told):
            seconds, origin = sum(cost.seconds for cost in known.values()), "table"
        else:
            seconds, origin = _timed_there(part_of(graph, each.layers), device, cache), "measured"
        found[each.name].append(OperatorCost(device.name, implementation, 1, seconds, origin))


def _timed_there(part: LayerGraph, device: Device, cache: CostCache) -> float:
    """Seconds of an operator on a device of an outside kind: kept ones, or measured."""
    key = " ".join((fingerprint(part), device.kind, place_of(device), _versions()))
    known = cache.read([key])
    if key not in known:
        known = {key: seconds_there(device, part)}
        cache.write(known)
    return known[key]


def _measured(
    graph: LayerGraph, device: Device, inputs: Sequence[Any], keys: Mapping[str, str], cache: CostCache
) -> dict[str, dict[str, float]]:
    """Seconds of all layers, by implementation: from the cache where it has all, else measured."""
    implementations = (OURS, TORCH) if device.kind == "cpu" else (TORCH,)
    of_layer = {
        (implementation, name): _key(key, device, implementation)
        for implementation in implementations
        for name, key in keys.items()
    }
    known = cache.read(of_layer.values())
    if not all(key in known for key in of_layer.values()):
        measured = _measure(graph, device, inputs, implementations)
        totals: defaultdict[str, list[float]] = defaultdict(list)
        for (implementation, name), key in of_layer.items():
            totals[key].append(measured[implementation].get(name, 0.0))
        known = {key: sum(values) / len(values) for key, values in totals.items()}
        cache.write(known)
    return {
        implementation: {name: known[of_layer[implementation, name]] for name in keys}
        for implementation in implementations
    }


def _measure(
    graph: LayerGraph, device: Device, inputs: Sequence[Any], implementations: Sequence[str]
) -> dict[str, dict[str, float]]:
    if device.kind == "cuda":
        place = torch.device("cuda", device.index or 0)
        there = [value.to(place) for value in inputs]
        on_gpu = TorchGraph(graph, place)
        return dict(zip(implementations, in_turn([lambda: on_gpu.layer_seconds(*there)]), strict=True))

    def work() -> list[dict[str, float]]:
        ours = compile_graph(graph, threads=len(device.cores))
        theirs = TorchGraph(graph)
        calls: list[Timed] = [
            lambda: by_source(graph, ours, inputs),
            lambda: theirs.layer_seconds(*inputs),
        ]
        return in_turn(calls)

    return dict(zip(implementations, on_cores(device.cores, work), strict=True))


def by_source(graph: LayerGraph, model: CompiledModel, inputs: Sequence[Any]) -> dict[str, float]:
    """Seconds of the layers of a frontend's graph in one call; what was added counts to those around."""
    layers = {layer.name for layer in graph.layers}
    seconds: defaultdict[str, float] = defaultdict(float)
    readers = {name: layer.name for layer in reversed(graph.layers) for name in layer.reads()}
    outputs = {f"output {place}": name for place, name in enumerate(graph.outputs)}
    for name, begin, end in model.timeline(*inputs):
        base = name if name in layers else name.partition("#")[0]
        source = base if base in layers else readers.get(name, outputs.get(name, name))
        seconds[source] += end - begin
    return dict(seconds)


def _layer_keys(graph: LayerGraph) -> dict[str, str]:
    """The digest of each layer; of those that stay with another one, theirs together is with that."""
    keys = {}
    for layer in graph.layers:
        try:
            keys[layer.name] = fingerprint(part_of(graph, [layer.name]))
        except PlanError:  # one of several results: it stays with the operator
            keys[layer.name] = hashlib.blake2b(f"{layer.core} {layer.shape}".encode()).hexdigest()
    return keys


def _key(layer: str, device: Device, implementation: str) -> str:
    """All that decides a layer's seconds there."""
    return f"{layer} {implementation} {setting_of(device)}"


def setting_of(device: Device) -> str:
    """What decides the seconds of anything on a device that is here: its cores or GPU, and versions."""
    return f"{_place(device.kind, len(device.cores), device.index)} {_versions()}"


@functools.cache
def _place(kind: str, cores: int, index: int | None) -> str:
    if kind == "cuda":
        return torch.cuda.get_device_name(index or 0)
    return f"{parse_target().name} x{cores}"


@functools.cache
def _versions() -> str:
    return " ".join(f"{name}={metadata.version(name)}" for name in ("sparsegen", "torch", "apache-tvm"))
