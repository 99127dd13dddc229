"""Stages of a model on a CPU, looked for once: what was found is kept beside the costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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

_PLAN = "plan"


@dataclass(frozen=True, eq=False)
class InStages:
    """What came of looking for stages of a model on a CPU's cores.

    plan: of stages, where these gain; compiled: its program, where that was just compiled. seconds: medians
    of a call, in the same rounds, by "sequential", "one thread" and "stages", of what was called. why: no
    stages are taken. one_thread: whether the program on one thread gains over that on all.
    """

    plan: Plan | None = None
    compiled: CompiledModel | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    one_thread: bool = False


@dataclass(frozen=True)
class _Kept:
    """What is kept where stages do not gain, by all that decides whether they do; see `InStages`."""

    seconds: Mapping[str, float]
    why: str
    one_thread: bool


def plan_in_stages(
    graph: LayerGraph,
    inputs: Sequence[Any],
    device: Device,
    subject: Subject,
    cache: CostCache,
    *,
    measure: bool = True,
    listen: Listener | None = None,
) -> InStages:
    """The plan of stages of a model on a CPU's cores, or why there is none.

    Nothing is known, unless `measure`, where nobody has looked. Raises SparsegenError where the model cannot
    be compiled or called.
    """
    names = hashlib.blake2b(" ".join(layer.name for layer in graph.layers).encode(), digest_size=16)
    cores = " ".join(map(str, device.cores))
    key = f"stages 2 {subject.fingerprint} {names.hexdigest()} {cores} {setting(device, OURS)}"
    kept = cache.plan(key)
    if kept is not None:
        found = json.loads(kept)
        if _PLAN in found:
            return InStages(_again(found[_PLAN], device, subject))
        return InStages(**vars(_Kept(**found)))
    if not measure:
        return InStages()
    threads = len(device.cores)
    staged = on_cores(device.cores, lambda: stage(graph, inputs, threads=threads, listen=listen))
    if staged.gains:
        plan = staged_plan(staged, device, subject)
        cache.keep_plan(key, json.dumps({_PLAN: to_json(plan)}))
        return InStages(plan, staged.model)
    known = _Kept(staged.seconds, staged.why, staged.one_thread)
    cache.keep_plan(key, json.dumps(asdict(known)))
    return InStages(**vars(known))


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
