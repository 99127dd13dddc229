"""What operators cost: measured or predicted on the devices that are here, told by their tables elsewhere.

An operator costs what its layers do together. A device of another package's kind tells what it can; operators
that it cannot tell of are timed there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsegen.cost import AnyOrigin, least_sure
from sparsegen.devices import Device, Machine, cost_on, describe_graph
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.layer_costs import LayerCost, layer_costs, versions
from sparsegen.hetero.costs.outside import place_of, seconds_there
from sparsegen.hetero.operators.cut import part_of
from sparsegen.hetero.operators.export import OperatorCost
from sparsegen.hetero.operators.fingerprint import fingerprint
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.plan import EMULATED
from sparsegen.progress import Listener, Steps


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
    measure: bool = True,
    listen: Listener | None = None,
) -> Costs:
    """The costs of a model's operators on a machine, with these inputs.

    What the cache does not know of devices that are here is measured; unless `measure`, it is predicted, and
    nothing is compiled or run. An operator is as surely known as the least sure of its layers.

    Raises SparsegenError where a device is not here, or the model cannot be compiled or run, and
    PredictionError where too little was measured on a device to predict from.
    """
    found: defaultdict[str, list[OperatorCost]] = defaultdict(list)
    reasons: dict[tuple[str, str], str] = {}
    steps = Steps(listen, total=len(machine.computing))
    for device in machine.computing:
        steps.begin(f"costs on {device.name}")
        if device.kind in ("cpu", "cuda"):
            here = layer_costs(graph, device, inputs, cache, measure=measure)
            for implementation, layers in here.items():
                for each in operators:
                    found[each.name].append(_of_layers(each, device, implementation, layers))
        else:
            _told(graph, device, operators, cache, found, reasons)
    return Costs({each.name: tuple(found[each.name]) for each in operators}, reasons)


def _of_layers(
    operator: Operator, device: Device, implementation: str, layers: Mapping[str, LayerCost]
) -> OperatorCost:
    """The cost of an operator: its layers' together."""
    costs = [layers[name] for name in operator.layers]
    seconds, threads = sum(cost.seconds for cost in costs), max(1, len(device.cores))
    origin = least_sure("measured", *(cost.origin for cost in costs))
    return OperatorCost(device.name, implementation, threads, seconds, origin)


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
            seconds = sum(cost.seconds for cost in known.values())
            origin: AnyOrigin = "table"
        else:
            seconds, origin = _timed_there(part_of(graph, each.layers), device, cache), "measured"
        found[each.name].append(OperatorCost(device.name, implementation, 1, seconds, origin))


def _timed_there(part: LayerGraph, device: Device, cache: CostCache) -> float:
    """Seconds of an operator on a device of an outside kind: kept ones, or measured."""
    key = " ".join((fingerprint(part), device.kind, place_of(device), versions()))
    known = cache.read([key])
    if key not in known:
        known = {key: seconds_there(device, part)}
        cache.write(known)
    return known[key]
