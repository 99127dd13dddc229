"""Why a graph of Dynamo's, or a call of it, is torch's to run, before anybody tries to compile it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from sparsegen.torch_backend.placeholders import inputs_of

_FLAGS = ("training", "train")
_AUTOCAST = torch.amp.autocast_mode._enter_autocast


def graph_fault(graph: GraphModule) -> str:
    """Why a graph cannot be compiled whatever its inputs are; "" where it may be."""
    for node in graph.graph.nodes:
        if node.op == "call_function":
            if node.target is _AUTOCAST:
                return "the model uses autocast, and kernels compute in float32"
            if _is_in_training(node):
                return f"{_name(node)} is in training mode: call model.eval()"
    outputs = [node for node in _outputs(graph) if isinstance(_example(node), Tensor)]
    if not outputs:
        return "it computes no tensor"
    return _shared_memory(graph, outputs)


def call_fault(tensors: Sequence[Any], *, gives_gradients: bool) -> str:
    """Why a call with these tensors, weights among them, is torch's to run; "" where it is not.

    `gives_gradients`: whether a result of the graph has one, if gradients are recorded.
    """
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and kernels compute in float32"
    if gives_gradients and torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
        return "gradients are recorded: call it under torch.no_grad() or torch.inference_mode()"
    return ""


def gives_gradients(graph: GraphModule) -> bool:
    """Whether some result of a graph has a gradient, as Dynamo traced it."""
    examples = [_example(node) for node in _outputs(graph)]
    return any(each.requires_grad for each in examples if isinstance(each, Tensor))


def _outputs(graph: GraphModule) -> Iterator[Node]:
    (results,) = graph.graph.output_node().args
    held = results if isinstance(results, tuple | list) else [results]
    return (each for each in held if isinstance(each, Node))


def _example(node: Node) -> Any:
    return node.meta.get("example_value")


def _shared_memory(graph: GraphModule, outputs: Sequence[Node]) -> str:
    """Why memory that results share in torch matters: what a caller writes to one is then in another.

    Compiled models give every result memory of its own.
    """
    taken = {_memory(node) for node in inputs_of(graph) if isinstance(_example(node), Tensor)}
    for node in dict.fromkeys(outputs):
        memory = _memory(node)
        if memory in taken:
            return "a result shares memory with an input, a weight or another result: let the model clone it"
        taken.add(memory)
    return ""


def _memory(node: Node) -> int:
    return int(_example(node).untyped_storage()._cdata)


def _is_in_training(node: Node) -> bool:
    """Whether a call's arguments ask for dropout, or for statistics of the batch.

    Functions that have no signature, such as attention with dropout, the frontend refuses.
    """
    given = {**_by_name(node), **node.kwargs}
    return any(given.get(name) is True for name in _FLAGS)


def _by_name(node: Node) -> dict[str, Any]:
    """Arguments by position with their names, where the function tells these."""
    try:
        names = list(inspect.signature(node.target).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # some of torch's functions in C have no signature
        return {}
    return dict(zip(names, node.args, strict=False))


def _name(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
