"""What operators cost: measured or predicted on the devices that are here, told by their tables elsewhere.

An operator costs what its layers do together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsegen.cost import least_sure
from sparsegen.devices import Device, Machine, cost_on, describe_graph
from sparsegen.graph import LayerGraph
from sparsegen.hetero.cost_cache import CostCache
from sparsegen.hetero.export import OperatorCost
from sparsegen.hetero.layer_costs import OURS, TORCH, LayerCost, layer_costs
from sparsegen.hetero.operators import Operator
from sparsegen.progress import Listener, Steps

__all__ = ["EMULATED", "OURS", "TORCH", "Costs", "cost_operators"]

EMULATED = "emulated"
"""The implementation that stands in for a table; the others are those of `layer_costs`."""


@dataclass(frozen=True, eq=False)
class Costs:
    """What each operator costs on each device, by each implementation; and why devices do not run some.

    reasons: by operator and device, a phrase.
    """

    costs: Mapping[str, tuple[OperatorCost, ...]]
    reasons: Mapping[tuple[str, str], str]

    def best(self, operator: str, device: str) -> OperatorCost | None:
        """The least cost of an operator on a device; None where that does not run it."""
        there = (each for each in self.costs[operator] if each.device == device)
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
    steps = Steps(listen, total=len(machine.devices))
    for device in machine.devices:
        steps.begin(f"costs on {device.name}")
        if device.kind in ("cpu", "cuda"):
            here = layer_costs(graph, device, inputs, cache, measure=measure)
            for implementation, layers in here.items():
                for each in operators:
                    found[each.name].append(_of_layers(each, device, implementation, layers))
        else:
            _from_table(graph, device, operators, found, reasons)
    return Costs({each.name: tuple(found[each.name]) for each in operators}, reasons)


def _of_layers(
    operator: Operator, device: Device, implementation: str, layers: Mapping[str, LayerCost]
) -> OperatorCost:
    """The cost of an operator: its layers' together."""
    costs = [layers[name] for name in operator.layers]
    seconds, threads = sum(cost.seconds for cost in costs), max(1, len(device.cores))
    origin = least_sure("measured", *(cost.origin for cost in costs))
    return OperatorCost(device.name, implementation, threads, seconds, origin)


def _from_table(
    graph: LayerGraph,
    device: Device,
    operators: Iterable[Operator],
    found: defaultdict[str, list[OperatorCost]],
    reasons: dict[tuple[str, str], str],
) -> None:
    """Costs that a device's kind tells without running anything."""
    described = describe_graph(graph)
    for each in operators:
        seconds, reason = 0.0, ""
        for name in each.layers:
            cost = cost_on(device, described[name])
            if cost is None:
                seconds, reason = math.inf, f"nobody knows what layer {name} takes there"
            elif cost.reason:
                reason = f"layer {name}: {cost.reason}"
            else:
                seconds += cost.seconds
        if reason:
            reasons[each.name, device.name] = reason
        else:
            found[each.name].append(OperatorCost(device.name, EMULATED, 1, seconds, "table"))
