"""Our kernels and torch's in one program on a CPU's cores: mixed by what layers cost, taken where measured.

Layers for which torch's own operator is faster, the conversions around it counted, are left to it within our
program. That program, ours and torch's are then called whole, in turn, and a device runs all operators by the
one that is fastest: what parts of two programs cost together is not known from what each costs alone.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsegen.compiler import compile_graph
from sparsegen.devices import Device, Machine
from sparsegen.graph import ITEM_BYTES, LayerGraph
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.costs import Costs, cost_operators
from sparsegen.hetero.costs.layer_costs import setting
from sparsegen.hetero.costs.measure import on_cores, seconds_in_turn
from sparsegen.hetero.operators.cut import operators as cut
from sparsegen.hetero.operators.export import OperatorCost
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.plan import MIXED, OURS, TORCH
from sparsegen.kernels.torch_own import given_to_torch, torchs_layers
from sparsegen.progress import Listener
from sparsegen.target import parse_target
from sparsegen.torch_graph.graph import TorchGraph

LEAST_GAIN = 0.02
"""Share of the time of the next simpler program that another one has to gain to be taken."""
_CLEARLY = 1.25  # times our layers' seconds: torch's need not be called whole to be told slower
_LAYER_GAIN = 0.1  # of our layer's seconds: what is less is within the noise


@dataclass(frozen=True)
class Mix:
    """How a device runs a whole graph.

    implementation: "ours", "torch" or "mixed". by_torch: the layers that torch computes where they are mixed.
    seconds: medians of whole calls, by implementation; "mixed" is not there where torch would get no layer.
    """

    implementation: str
    by_torch: frozenset[str]
    seconds: Mapping[str, float]


def mixed_costs(
    graph: LayerGraph,
    operators: Sequence[Operator],
    costs: Costs,
    machine: Machine,
    inputs: Sequence[Any],
    *,
    cache: CostCache,
    listen: Listener | None = None,
) -> Costs:
    """The operators' costs with the implementation chosen that runs the whole graph fastest on each CPU.

    Each implementation's costs are scaled, so that those of all operators are what a whole call takes.
    Raises SparsegenError where the model cannot be compiled or run.
    """
    cores = {device.name: device for device in machine.devices if device.kind == "cpu"}
    if not cores:
        return costs
    chosen, by_torch = dict[str, str](), dict[str, frozenset[str]]()
    found = {name: [each for each in told if each.device not in cores] for name, told in costs.costs.items()}
    for name, device in cores.items():
        of_layers = layer_seconds(graph, device, inputs, cache, listen)
        mix = mix_on(device, graph, of_layers, inputs, cache)
        chosen[name], by_torch[name] = mix.implementation, mix.by_torch
        for implementation, whole in mix.seconds.items():
            seconds = _in_program(implementation, of_layers, mix.by_torch)
            scale = whole / sum(seconds.values())
            for each in operators:
                total = scale * sum(seconds.get(layer, 0.0) for layer in each.layers)
                cost = OperatorCost(name, implementation, len(device.cores), total, "measured")
                found[each.name].append(cost)
    told = {name: tuple(each) for name, each in found.items()}
    return replace(costs, costs=told, chosen=chosen, by_torch=by_torch)


def mix_on(
    device: Device,
    graph: LayerGraph,
    layers: Mapping[str, Mapping[str, float]],
    inputs: Sequence[Any],
    cache: CostCache,
) -> Mix:
    """The fastest program of a graph on a CPU's cores, with these inputs.

    layers: seconds of each layer, by implementation, "ours" and "torch". What whole calls take is kept; by
    what cannot gain, nothing is called.
    """
    totals = {name: sum(layers[name].values()) for name in (OURS, TORCH)}
    by_torch = faster_in_torch(graph, layers, len(device.cores))
    gained = sum(layers[OURS][name] - layers[TORCH][name] for name in by_torch)
    if gained < LEAST_GAIN * totals[OURS]:
        by_torch = frozenset()
    if not by_torch and totals[TORCH] > _CLEARLY * totals[OURS]:
        return Mix(OURS, by_torch, totals)
    names = [OURS, TORCH, *([MIXED] if by_torch else [])]
    digest = hashlib.blake2b(" ".join(sorted(by_torch)).encode(), digest_size=8).hexdigest()
    model = model_fingerprint(graph)
    keys = {name: f"{model} whole {digest} {setting(device, name)}" for name in names}
    known = cache.read(keys.values())
    if not all(key in known for key in keys.values()):
        seconds = on_cores(device.cores, lambda: _measured(graph, by_torch, names, len(device.cores), inputs))
        known = {keys[name]: seconds[name] for name in names}
        cache.write(known)
    found = {name: known[key] for name, key in keys.items()}
    return Mix(fastest(found), by_torch, found)


def faster_in_torch(
    graph: LayerGraph, layers: Mapping[str, Mapping[str, float]], threads: int
) -> frozenset[str]:
    """The layers that torch's own operator computes faster, with what they read and give brought to it."""
    bandwidth = parse_target().bandwidth(threads)
    shapes = graph.shapes()
    able = torchs_layers(graph)
    found = set()
    for layer in graph.layers:
        if layer.name not in able:
            continue
        elements = sum(math.prod(shapes[name]) for name in (*layer.inputs, layer.name))
        conversions = 2 * elements * ITEM_BYTES["float32"] / bandwidth  # read, and written
        ours, theirs = (layers[each].get(layer.name, 0.0) for each in (OURS, TORCH))
        if theirs + conversions < (1 - _LAYER_GAIN) * ours:
            found.add(layer.name)
    return frozenset(found)


def fastest(seconds: Mapping[str, float]) -> str:
    """Ours, unless torch's or the mixed program gains enough; the mixed one has to gain over both."""
    alone = TORCH if seconds[TORCH] < (1 - LEAST_GAIN) * seconds[OURS] else OURS
    mixed = seconds.get(MIXED, math.inf)
    return MIXED if mixed < (1 - LEAST_GAIN) * min(seconds[OURS], seconds[TORCH]) else alone


def program(
    implementation: str, graph: LayerGraph, by_torch: frozenset[str], threads: int
) -> Callable[..., Any]:
    """What computes a graph by an implementation; torch's takes as many threads as torch has."""
    if implementation == TORCH:
        return TorchGraph(graph)
    given = given_to_torch(graph, by_torch) if implementation == MIXED else graph
    return compile_graph(given, threads=threads)


def _measured(
    graph: LayerGraph, by_torch: frozenset[str], names: Sequence[str], threads: int, inputs: Sequence[Any]
) -> dict[str, float]:
    """Medians of whole calls, by implementation."""
    programs = {name: program(name, graph, by_torch, threads) for name in names}
    return seconds_in_turn({name: functools.partial(each, *inputs) for name, each in programs.items()})


def layer_seconds(
    graph: LayerGraph, device: Device, inputs: Sequence[Any], cache: CostCache, listen: Listener | None = None
) -> dict[str, dict[str, float]]:
    """Seconds of a graph's layers on a CPU's cores, by implementation, "ours" and "torch"."""
    alone = Machine((device,), (), device.name)
    told = cost_operators(graph, cut(graph, "layer"), alone, inputs, cache=cache, listen=listen).costs
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for name, costs in told.items():
        for each in costs:
            found[each.implementation][name] = each.seconds
    return dict(found)


def _in_program(
    implementation: str, layers: Mapping[str, Mapping[str, float]], by_torch: frozenset[str]
) -> Mapping[str, float]:
    """Seconds of layers in the program of an implementation."""
    if implementation != MIXED:
        return layers[implementation]
    return {name: layers[TORCH if name in by_torch else OURS][name] for name in layers[OURS]}
