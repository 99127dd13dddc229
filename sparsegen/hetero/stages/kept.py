"""Plans of stages, found once for a model on a CPU: kept beside the costs, by all that decides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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

_SECONDS = "seconds"
"""What is kept in place of a plan where stages do not gain; null where nobody knows the seconds."""
_TOLD = {"stages": "stages of operators at once", "one thread": "one thread"}


def plan_in_stages(
    graph: LayerGraph,
    inputs: Sequence[Any],
    device: Device,
    subject: Subject,
    cache: CostCache,
    *,
    measure: bool = True,
    listen: Listener | None = None,
) -> tuple[Plan | None, CompiledModel | None, Mapping[str, float]]:
    """The plan of stages of a model on a CPU's cores, and its program where that was just compiled.

    No plan where stages do not gain, or, unless `measure`, where nobody has measured whether they do. The
    last are the seconds of a call of what a plan that is not of stages has to be told beside, by what it is.
    Raises SparsegenError where the model cannot be compiled or called.
    """
    names = hashlib.blake2b(" ".join(layer.name for layer in graph.layers).encode(), digest_size=16)
    cores = " ".join(map(str, device.cores))
    key = f"stages 1 {subject.fingerprint} {names.hexdigest()} {cores} {setting(device, OURS)}"
    kept = cache.plan(key)
    if kept is not None:
        found = json.loads(kept) or {}
        if _SECONDS in found or not found:
            return None, None, found.get(_SECONDS, {})
        return _again(found, device, subject), None, {}
    if not measure:
        return None, None, {}
    threads = len(device.cores)
    staged = on_cores(device.cores, lambda: stage(graph, inputs, threads=threads, listen=listen))
    if staged.gains:
        plan = staged_plan(staged, device, subject)
        cache.keep_plan(key, json.dumps(to_json(plan)))
        return plan, staged.model, {}
    seconds = {_TOLD[name]: value for name, value in staged.seconds.items() if name in _TOLD}
    cache.keep_plan(key, json.dumps({_SECONDS: seconds}))
    return None, None, seconds


def _again(kept: Any, device: Device, subject: Subject) -> Plan:
    """A kept plan, by the names that the device and the model have now."""
    plan = from_json(kept, "the kept plan of stages")
    (known,) = plan.devices
    return replace(
        plan,
        model=subject.model,
        devices=(replace(known, name=device.name),),
        operators=tuple(replace(each, device=device.name) for each in plan.operators),
    )
