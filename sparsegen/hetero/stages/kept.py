"""Plans of stages, found once for a model on a CPU: kept beside the costs, by all that decides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sparsegen.devices import Device
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.layer_costs import setting
from sparsegen.hetero.costs.measure import on_cores
from sparsegen.hetero.plans.placing import Subject
from sparsegen.hetero.plans.plan import OURS, Plan
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.hetero.stages.staged_plan import staged_plan
from sparsegen.hetero.stages.staging import stage
from sparsegen.progress import Listener
from sparsegen.runtime.model import CompiledModel

_NO_STAGES = "null"


def plan_in_stages(
    graph: LayerGraph,
    inputs: Sequence[Any],
    device: Device,
    subject: Subject,
    cache: CostCache,
    *,
    measure: bool = True,
    listen: Listener | None = None,
) -> tuple[Plan | None, CompiledModel | None]:
    """The plan of stages of a model on a CPU's cores, and its program where that was just compiled.

    No plan where stages do not gain, or, unless `measure`, where nobody has measured whether they do. Raises
    SparsegenError where the model cannot be compiled or called.
    """
    names = hashlib.blake2b(" ".join(layer.name for layer in graph.layers).encode(), digest_size=16)
    cores = " ".join(map(str, device.cores))
    key = f"stages 1 {subject.fingerprint} {names.hexdigest()} {cores} {setting(device, OURS)}"
    kept = cache.plan(key)
    if kept is not None:
        return (None if kept == _NO_STAGES else _again(kept, device, subject)), None
    if not measure:
        return None, None
    threads = len(device.cores)
    staged = on_cores(device.cores, lambda: stage(graph, inputs, threads=threads, listen=listen))
    plan = staged_plan(staged, device, subject) if staged.gains else None
    cache.keep_plan(key, _NO_STAGES if plan is None else json.dumps(to_json(plan)))
    return plan, staged.model if staged.gains else None


def _again(kept: str, device: Device, subject: Subject) -> Plan:
    """A kept plan, by the names that the device and the model have now."""
    plan = from_json(json.loads(kept), "the kept plan of stages")
    (known,) = plan.devices
    return replace(
        plan,
        model=subject.model,
        devices=(replace(known, name=device.name),),
        operators=tuple(replace(each, device=device.name) for each in plan.operators),
    )
