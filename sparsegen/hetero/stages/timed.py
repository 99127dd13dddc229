"""What ran when, of a stream of inputs through a model in stages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sparsegen.hetero.plans.events import Event, Timeline
from sparsegen.hetero.plans.lanes import lanes_of
from sparsegen.hetero.plans.plan import Plan
from sparsegen.runtime.model import CompiledModel


def timed_stream(plan: Plan, model: CompiledModel, inputs: Iterable[Sequence[Any]]) -> Timeline:
    """Run inputs one after the other: an operator is busy from its first layer's start to its last one's end.

    Layers that are in no operator of the plan, those at the model's edges, are in an input's seconds alone.
    """
    lanes = {work.operator.name: lane.number for lane in lanes_of(plan) for work in lane.works}
    owner = {layer: each.name for each in plan.operators for layer in each.layers}
    events, admitted, finished = list[Event](), list[float](), list[float]()
    device = plan.devices[0].name
    begun = time.monotonic()
    for number, given in enumerate(inputs):
        admitted.append(time.monotonic() - begun)
        spans: dict[str, tuple[float, float]] = {}
        for layer, start, end in model.timeline(*given):
            if layer in owner:
                first, last = spans.get(owner[layer], (start, end))
                spans[owner[layer]] = min(first, start), max(last, end)
        finished.append(time.monotonic() - begun)
        for name, (start, end) in spans.items():
            times = admitted[-1] + start, admitted[-1] + end
            events.append(Event("operator", name, device, "", lanes[name], number, *times))
    events.sort(key=lambda each: each.start)
    return Timeline(tuple(events), tuple(admitted), tuple(finished))
