"""A bound graph compiled, or found where it was compiled before, without torch.export then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from sparsegen.cache.compiled import found_or_made, model_cache
from sparsegen.cache.key import NoKeyError
from sparsegen.compiler import compile
from sparsegen.database.assign import as_database
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import calibrated, parse_target
from sparsegen.torch_backend.options import BackendOptions

_TORCH = ("torch.", "math.", "_operator.", "operator.", "builtins.")
"""Modules whose functions are the same wherever they have the same name, and the versions of torch are."""


def compile_bound(
    graph: GraphModule, tensors: Sequence[Any], options: BackendOptions
) -> tuple[CompiledModel, bool]:
    """The model of a graph that takes these tensors, and whether it was found in the compile cache.

    A graph that can be written down is looked for as Dynamo made it: the first process alone needs
    torch.export then. Raises as `sparsegen.compile` does.
    """
    kept = model_cache(options.cache, options.cache_dir)
    settings: dict[str, Any] = {
        "database": as_database(options.database),
        "winograd": options.winograd,
        "measured": options.measured,
        "approximate": options.approximate,
    }
    arguments: dict[str, Any] = {**settings, "threads": options.threads, "target": options.target}
    arguments |= {"fallback": options.of_operators, "calibration": options.calibration}
    try:
        described = describe(graph, tensors)
    except NoKeyError:
        # By its layers the model may still be found: only torch.export is not spared.
        where: dict[str, Any] = {"cache": options.cache, "cache_dir": options.cache_dir}
        return compile(graph, tuple(tensors), **where, **arguments), False
    made = []

    def make() -> CompiledModel:
        made.append(True)
        new: CompiledModel = compile(graph, tuple(tensors), cache=False, **arguments)
        return new

    cpu = calibrated(parse_target(options.target), options.calibration)
    team = torch.get_num_threads() if options.threads is None else options.threads
    key = {**settings, "fallback": options.of_operators, "target": cpu, "threads": team}
    started = time.perf_counter()
    model = found_or_made(kept, described, key, make)
    model.compile_seconds = time.perf_counter() - started
    return model, not made


def describe(graph: GraphModule, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """All that a graph and its inputs decide, in data that the cache can make a key of.

    Raises NoKeyError for what a name does not tell: functions that are not torch's, and graphs in the graph.
    """
    inputs = [(str(each.dtype), str(each.device), tuple(each.shape)) for each in tensors]
    numbers = {node: index for index, node in enumerate(graph.graph.nodes)}
    nodes = [_described_node(graph, node, numbers) for node in graph.graph.nodes]
    return ("graph of Dynamo's", str(torch.get_default_dtype()), inputs, nodes)


def _described_node(graph: GraphModule, node: Node, numbers: dict[Node, int]) -> tuple[Any, ...]:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    where = stack[-1][0] if stack else ""  # names of layers are part of a compiled model
    arguments = _described((node.args, dict(node.kwargs)), numbers)
    return node.op, _target(graph, node), node.name, where, arguments


def _target(graph: GraphModule, node: Node) -> Any:
    """What a node calls or reads. Raises NoKeyError where a name does not tell."""
    target: Any = node.target
    if node.op == "get_attr":
        held = graph
        for part in target.split("."):
            held = getattr(held, part)
        if not isinstance(held, torch.Tensor):
            raise NoKeyError(f"{target} is a {type(held).__name__}")
        return target, held
    if node.op in ("placeholder", "output", "call_method"):
        return target
    if isinstance(target, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        name = str(target)
        if not name.startswith(("aten.", "prims.", "aten::", "prims::")):
            raise NoKeyError(name)
        return name
    name = f"{getattr(target, '__module__', None) or 'torch'}.{getattr(target, '__qualname__', '')}"
    if node.op != "call_function" or not callable(target) or not name.startswith(_TORCH):
        raise NoKeyError(name)
    return name


def _described(value: Any, numbers: dict[Node, int]) -> Any:
    """An argument in data: nodes by their numbers."""
    match value:
        case Node():
            return "node", numbers[value]
        case slice():
            return "slice", *(_described(each, numbers) for each in (value.start, value.stop, value.step))
        case tuple() | list():
            return type(value).__name__, *(_described(each, numbers) for each in value)
        case dict():
            return "dict", *((key, _described(each, numbers)) for key, each in value.items())
        case _ if value is Ellipsis:
            return ("...",)
        case _:
            return value
