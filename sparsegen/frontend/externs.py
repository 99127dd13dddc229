"""Calls that torch itself computes, between kernels: whether it can, and how they stand in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from sparsegen.frontend.builder import CallSite
from sparsegen.graph import Extern, Read, Result

_CONTROL_FLOW = {"cond", "while_loop", "map_impl", "scan", "associative_scan"}
_NOT_RANDOM = {"p": 0.0, "dropout_p": 0.0, "dropout": 0.0, "train": False, "training": False}
"""Arguments, and their values, with which operators that may draw random numbers draw none."""
_COPYING: dict[Any, Any] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
}
"""What stands for views that only some strides allow: a kernel's result may have others than torch's."""
_OF_MEMORY = {torch.ops.aten.as_strided.default, torch.ops.aten.view.dtype}
"""Operators that read their input's memory, not its elements: it is made contiguous before."""


def torch_fault(node: Node) -> str | None:
    """Why torch cannot compute a call between kernels; None where it can.

    It can compute all that gives the same tensors, of the same shapes, whenever it reads the same values.
    """
    if not isinstance(node.target, torch._ops.OpOverload):
        if str(node.target) in _CONTROL_FLOW:
            return (
                "its control flow depends on values: compile every branch as a model of its own, or compute "
                "both and choose with torch.where"
            )
        return "it is no ATen operator"
    if _is_random(node):
        return "it draws random numbers: leave it out of the model, or make what it draws an input"
    name = node.target.name()  # type: ignore[no-untyped-call]
    if not torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, "CPU"):
        return "it has no kernel for the CPU: register one with torch.library before compiling"
    for each in (node, *node.all_input_nodes):
        for value in _parts(each.meta.get("val")):
            if isinstance(value, torch.Tensor) and value.is_complex():
                return f"it computes with {value.dtype}: compute with real and imaginary parts of your own"
            if value is not None and not isinstance(value, torch.Tensor) and each is node:
                return "it makes a number of a tensor: shapes and numbers must not depend on values"
    if node.target in _OF_MEMORY and not _lies_plain(node.all_input_nodes[0]):
        return "it reads memory in an order of its own: use view, permute or slices in its place"
    return None


def add_extern(site: CallSite, node: Node, values: Mapping[Node, Any], reason: str) -> Any:
    """Add a layer that torch computes; returns its value's name, or a tuple of its results' names."""
    inputs: list[str] = []

    def argument(source: Node) -> Any:
        value = values[source]
        if isinstance(value, torch.Tensor):
            return site.builder.own(value)
        if not isinstance(value, str):
            return value
        name = _whole(site, value, source, reason)
        if node.target in _OF_MEMORY:
            name = site.layer(_contiguous(source), name, shape=tuple(source.meta["val"].shape))
        if name not in inputs:
            inputs.append(name)
        return Read(inputs.index(name))

    arguments, keywords = map_arg(node.args, argument), map_arg(node.kwargs, argument)
    result = node.meta["val"]
    target = _COPYING.get(node.target, node.target)
    core = Extern(target, tuple(arguments), dict(keywords), _dtype(result), reason)
    if isinstance(result, torch.Tensor):
        return site.layer(core, *inputs, shape=tuple(result.shape))
    source = site.layer(core, *inputs, shape=())
    return tuple(
        site.layer(Result(index, _dtype(part)), source, shape=tuple(part.shape))
        if isinstance(part, torch.Tensor)
        else None
        for index, part in enumerate(result)
    )


def clone(site: CallSite, value: str, example: torch.Tensor) -> str:
    """Add a layer that copies a value: an input that the model returns."""
    core = Extern(torch.ops.aten.clone.default, (Read(0),), {}, _dtype(example), "it copies an input")
    return site.layer(core, value, shape=tuple(example.shape))


def _contiguous(source: Node) -> Extern:
    keywords = {"memory_format": torch.contiguous_format}
    reason = "it puts a value in order for an operator that reads memory"
    return Extern(torch.ops.aten.clone.default, (Read(0),), keywords, _dtype(source.meta["val"]), reason)


def _whole(site: CallSite, name: str, source: Node, reason: str) -> str:
    """The value with the shape that torch gives it: kernels that broadcast left its expansion out."""
    example = source.meta["val"]
    shape = tuple(example.shape)
    if site.builder.shapes[name] == shape:
        return name
    expand = Extern(torch.ops.aten.expand.default, (Read(0), shape), {}, _dtype(example), reason)
    return site.layer(expand, name, shape=shape)


def _dtype(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.") if isinstance(value, torch.Tensor) else "tuple"


def _parts(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _is_random(node: Node) -> bool:
    """Whether a call draws random numbers: its operator can, and no argument forbids it."""
    assert isinstance(node.target, torch._ops.OpOverload)
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    given = dict(zip((each.name for each in node.target._schema.arguments), node.args, strict=False))
    defaults = {each.name: each.default_value for each in node.target._schema.arguments}
    arguments = {**defaults, **given, **node.kwargs}
    return not any(
        name in arguments and arguments[name] == value and arguments[name] is not None
        for name, value in _NOT_RANDOM.items()
    )


def _lies_plain(source: Node) -> bool:
    """Whether a value's elements lie in memory in their order, as those of a value made plain do."""
    example = source.meta["val"]
    return bool(example.is_contiguous()) and example.storage_offset() == 0
