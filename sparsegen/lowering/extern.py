"""Operators that torch computes, as calls of a program: arguments filled in with slots and arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparsegen.graph import Extern, Layer, Read, Result
from sparsegen.runtime.operators import GET_ITEM, as_data
from sparsegen.runtime.program import Argument, Slot, TorchCall, Weight


def torch_call(
    layer: Layer, slots: Mapping[str, int], frees: tuple[int, ...], tensor: Callable[[Any], Weight]
) -> TorchCall:
    """The call of a layer that torch computes.

    `slots` are all plain values', `frees` those that it is the last to read; `tensor` places a constant.
    """
    reads = [Slot(slots[name]) for name in layer.inputs]
    if isinstance(layer.core, Result):
        (source,) = layer.inputs
        return TorchCall(source, GET_ITEM, (reads[0], layer.core.index), (), slots[layer.name], frees)
    core = layer.core
    assert isinstance(core, Extern)

    def argument(value: Any) -> Argument:
        if isinstance(value, list | tuple):
            return tuple(map(argument, value))
        return reads[value.index] if isinstance(value, Read) else as_data(value, tensor)

    return TorchCall(
        layer.name,
        str(core.overload),
        tuple(map(argument, core.arguments)),
        tuple((name, argument(value)) for name, value in core.keywords.items()),
        slots[layer.name],
        frees,
    )


def constants(layer: Layer) -> list[Any]:
    """The tensors among the arguments of an operator that torch computes; none of another layer."""
    core = layer.core
    if not isinstance(core, Extern):
        return []
    found: list[Any] = []

    def collect(argument: Any) -> None:
        if isinstance(argument, list | tuple):
            for each in argument:
                collect(each)
        elif hasattr(argument, "untyped_storage"):
            found.append(argument)

    collect((core.arguments, tuple(core.keywords.values())))
    return found
