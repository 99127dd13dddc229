"""Whether what a plan names can be: devices of known kinds and settings, implementations, cores, layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sparsegen.devices import Device, make_device
from sparsegen.errors import DeviceError, OptionError, PlanError
from sparsegen.hetero.plans.plan import MIXED, PASSED_ON, Plan, PlanDevice, implementations_on


def implementation_faults(plan: Plan) -> Iterator[str]:
    """Implementations that the device does not have, or that compute nothing; of good names."""
    kinds = {each.name: each.kind for each in plan.devices}
    for each in plan.operators:
        there = (PASSED_ON, *implementations_on(kinds[each.device]))
        if each.implementation not in there:
            yield (
                f"operator {each.name} is computed by {each.implementation!r}; on {each.device}, a "
                f"{kinds[each.device]}, there are {', '.join(there)}"
            )
        elif each.implementation == PASSED_ON and each.layers:
            yield f"operator {each.name} is passed on, and has layers to compute"


def layer_faults(plan: Plan) -> Iterator[str]:
    """Layers that are there twice, and layers left to torch that are no layers of a mixed program."""
    counts = Counter(layer for each in plan.operators for layer in each.layers)
    for layer, count in counts.items():
        if count > 1:
            holders = " and ".join(dict.fromkeys(o.name for o in plan.operators if layer in o.layers))
            yield f"layer {layer} is there {count} times, in operator {holders}"
    for each in plan.operators:
        if each.by_torch and each.implementation != MIXED:
            yield f"operator {each.name} leaves layers to torch, and is computed by {each.implementation}"
        if "" in each.layers:
            yield f"operator {each.name} has a layer with an empty name"
        if len(set(each.by_torch)) < len(each.by_torch):
            yield f"operator {each.name} leaves a layer to torch twice"
        strange = [name for name in each.by_torch if name not in each.layers]
        if strange:
            yield f"operator {each.name} leaves {strange[0]} to torch, which is none of its layers"


def core_faults(plan: Plan) -> Iterator[str]:
    """Cores that cannot be, and devices in use that share one."""
    in_use = {r.get(each.device, each.device) for r in plan.replicas for each in plan.operators}
    owner: dict[int, str] = {}
    for device in plan.devices:
        cores = device.settings.get("cores", ()) if device.kind == "cpu" else ()
        if not _are_cores(cores):
            yield f"device {device.name} has cores {cores!r}, where a list of whole numbers is expected"
            continue
        for core in cores if device.name in in_use else ():
            other = owner.setdefault(core, device.name)
            if other != device.name:
                yield f"devices {other} and {device.name} share core {core}"


def thread_faults(plan: Plan) -> Iterator[str]:
    """Operators of more threads than their devices, or those that stand in for them, run."""
    most = {each.name: found for each in plan.devices if (found := _most_threads(each)) is not None}
    for each in plan.operators:
        for name in dict.fromkeys(replica.get(each.device, each.device) for replica in plan.replicas):
            if each.threads > most.get(name, each.threads):
                told = f"{each.threads} threads, and {name} takes at most {most[name]}"
                yield f"operator {each.name} has {told}"


def _most_threads(device: PlanDevice) -> int | None:
    """The threads that a device runs; None for another package's kind, of which nobody knows."""
    if device.kind == "cpu":
        cores = device.settings.get("cores", ())
        return len(cores) if _are_cores(cores) else None
    return 1 if device.kind in ("cuda", "profile", "host") else None


def devices_of(plan: Plan, source: str = "the plan") -> Mapping[str, Device]:
    """The devices that a plan names, made of what it says of them, by name.

    Raises PlanError, which names `source`, for kinds that are not installed, and for settings that cannot be.
    """
    try:
        return {each.name: make_device(each.name, each.kind, each.settings) for each in plan.devices}
    except (DeviceError, OptionError) as error:
        raise PlanError(f"{source}: {error}; make the plan again") from error


def _are_cores(cores: Any) -> bool:
    return isinstance(cores, list | tuple) and all(type(core) is int and core >= 0 for core in cores)
