"""A model's operators and their costs as a scheduling problem: what goes in and out of the host counts, too.

The model's inputs are tasks of no time on the host, or on cores of the host's memory, and its results are
read by one, so that their ways count. Where the host is one that computes nothing, all operators are
elsewhere. A state is no input: what reads it carries the result that feeds it.
Bytes are those of float32 tensors: links to a device that computes in a smaller type, weights on it and its
memory are scaled to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparsegen.devices import Device, Machine
from sparsegen.errors import DeviceError
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import value_forms
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.operators.weights import weight_bytes
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task

RESULT = "result"
"""The task that reads the model's results."""
_FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class Posed:
    """A problem, and the names of its tasks that are no operators: the inputs and the result."""

    problem: Problem
    inputs: tuple[str, ...]
    result: str


def pose(whole: CarriedGraph, operators: Sequence[Operator], costs: Costs, machine: Machine) -> Posed:
    """The problem of placing a model's operators, which carry its states, on a machine's devices.

    Raises DeviceError for an operator that no device runs, told with each one's reason, and for a host that
    lacks room for the weights.
    """
    graph = whole.graph
    names = {each.name for each in operators} | graph.inputs.keys()
    result = RESULT
    while result in names:
        result += "'"
    forms = value_forms(graph)
    owner = {value.name: each.name for each in operators for value in each.outputs}
    host = dict.fromkeys(
        (d.name for d in machine.devices if d.kind == machine.device(machine.host).kind == "cpu"), 0.0
    ) or {machine.host: 0.0}
    tasks = [Task(name, bytes=forms[name].bytes, times=host) for name in whole.inputs]
    weights = weight_bytes(graph, operators)
    tasks += [_task(each, weights[each.name], costs, machine) for each in operators]
    read = dict.fromkeys(owner.get(name, name) for name in whole.results_read if name not in whole.carried)
    states = (whole.carried[name] for name in whole.results_read if name in whole.carried)
    carries = tuple(dict.fromkeys(owner[source] for source in states))
    tasks.append(Task(result, reads=tuple(read), carries=carries, times=host))
    return Posed(
        Problem(
            devices=tuple(device.name for device in machine.devices),
            tasks=tuple(tasks),
            links=tuple(links_of(machine)),
            stores=_stores(machine, sum(weights.values())),
        ),
        whole.inputs,
        result,
    )


def _task(operator: Operator, weights: int, costs: Costs, machine: Machine) -> Task:
    times, invocation = {}, {}
    for device in machine.devices:
        best = costs.best(operator.name, device.name)
        if best is not None:
            times[device.name] = best.seconds
        if device.profile is not None:
            invocation[device.name] = device.profile.invocation_overhead.value
    if not times:
        reasons = "; ".join(costs.reasons.get((operator.name, d.name), d.name) for d in machine.computing)
        raise DeviceError(f"no device runs operator {operator.name!r}: {reasons}; add one that does")
    return Task(
        operator.name,
        reads=operator.reads,
        bytes=operator.bytes,
        times=times,
        carries=operator.carries,
        invocation=invocation,
        weights=weights,
    )


def links_of(machine: Machine) -> list[Link]:
    """The ways between a machine's devices, for bytes of float32 tensors."""
    found = []
    for way in machine.ways():
        item = min(_item_bytes(machine.device(name)) for name in (way.source, way.target))
        bandwidth = way.bandwidth * _FLOAT_BYTES / item
        found.append(Link(way.source, way.target, way.latency, bandwidth, way.exclusive, way.buses))
    return found


def _stores(machine: Machine, weights: int) -> Mapping[str, Store]:
    """The memories and weight caches of devices; `weights` are the model's, in bytes.

    The host has nothing that weights could be streamed from: what it keeps is all it takes. Raises
    DeviceError where it is alone and the model has more.
    """
    stores = {}
    for device in machine.devices:
        profile = device.profile
        if profile is None or (profile.memory is None and profile.cache is None):
            continue
        scale = _FLOAT_BYTES / _item_bytes(device)
        memory, cache = (
            None if each is None else each.value * scale for each in (profile.memory, profile.cache)
        )
        if cache is None or device.name != machine.host:
            stream = 0.0 if cache is None else machine.stream_bandwidth(device.name) * scale
            stores[device.name] = Store(_whole(memory), _whole(cache), stream)
            continue
        if len(machine.devices) == 1 and weights > cache:
            raise DeviceError(
                f"device {device.name!r} keeps {_megabytes(cache / scale)} of weights, and the model has "
                f"{_megabytes(weights / scale)}: the rest would come from a host in every run, and there is "
                f"none. Add what {device.name!r} is connected to as another [[device]], such as table "
                '"arm-a53x4"'
            )
        stores[device.name] = Store(_whole(cache if memory is None else min(memory, cache)))
    return stores


def _whole(size: float | None) -> int | None:
    return None if size is None else int(size)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _item_bytes(device: Device) -> int:
    return _FLOAT_BYTES if device.profile is None else device.profile.item_bytes()
