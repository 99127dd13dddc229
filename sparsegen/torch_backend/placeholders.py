"""What the inputs of a graph of Dynamo's are: weights, tensors that a caller gives, and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

_STATIC = "_dynamo_static_input_type"
"""What Dynamo marks parameters and buffers with, in the dictionary of a tensor's attributes that it keeps."""
_MEMBER = re.compile(r"_(?:modules|parameters|buffers)\['([^']+)'\]")


@dataclass(frozen=True)
class Placeholders:
    """Which arguments of a graph, by their number, are what.

    weights: parameters and buffers, with a path for each, such as "layer1.0.weight".
    tensors: those that a caller gives; numbers: all others, sizes above all, where shapes are dynamic.
    floats: tensors that hold one number, which the graph takes out: so Dynamo gives numbers with a fraction.
    """

    weights: dict[int, str]
    tensors: tuple[int, ...]
    numbers: tuple[int, ...]
    floats: tuple[int, ...]

    def fixed(self, arguments: Sequence[Any]) -> tuple[int | float | bool, ...]:
        """The numbers among arguments, and those in tensors: they become part of what is compiled."""
        if not (self.numbers or self.floats):
            return ()
        given = (arguments[index] for index in self.numbers)
        return (*given, *(arguments[index].item() for index in self.floats))


def read_placeholders(graph: GraphModule) -> Placeholders:
    """The inputs of a graph, as Dynamo hands it over: later it takes the sources away."""
    weights: dict[int, str] = {}
    tensors, numbers, floats = list[int](), list[int](), list[int]()
    for index, node in enumerate(inputs_of(graph)):
        if _is_weight(node):
            weights[index] = _free(_path(node), set(weights.values()))
        elif isinstance(node.meta.get("example_value"), torch.Tensor):
            (floats if _is_float(node) else tensors).append(index)
        else:
            numbers.append(index)
    return Placeholders(weights, tuple(tensors), tuple(numbers), tuple(floats))


def inputs_of(graph: GraphModule) -> Iterator[Node]:
    """The nodes of the inputs, in order."""
    return (node for node in graph.graph.nodes if node.op == "placeholder")


def _is_weight(node: Node) -> bool:
    """Whether it is a module's: a parameter that a caller gives as an argument is a tensor as any other."""
    is_static = (node.meta.get("tensor_dict") or {}).get(_STATIC)
    return bool(is_static and _MEMBER.search(getattr(_source(node), "name", "")))


def _is_float(node: Node) -> bool:
    only_read = all(user.op == "call_method" and user.target == "item" for user in node.users)
    return bool(node.users) and only_read and node.meta["example_value"].dim() == 0


def _path(node: Node) -> str:
    """Where a module has the tensor; the node's name where no module of modules has it."""
    found: list[str] = _MEMBER.findall(getattr(_source(node), "name", ""))
    first, *parts = found or [node.name]
    return ".".join([f"{first}_" if hasattr(GraphModule, first) else first, *parts])


def _source(node: Node) -> Any:
    """Where Dynamo has an input from."""
    return getattr(node, "_dynamo_source", None) or getattr(node.meta.get("grapharg"), "source", None)


def _free(path: str, taken: set[str]) -> str:
    """The path, or with a number where another module's tensor has it, or has it as a module."""

    def clashes(one: str) -> bool:
        return any(f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.") for other in taken)

    count, candidate = 1, path
    while clashes(candidate):
        count += 1
        candidate = f"{path}_{count}"
    return candidate
