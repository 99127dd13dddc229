"""Operators that torch computes, as steps: arguments filled in from the values of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparsegen.graph import Extern, Layer, Read, Result
from sparsegen.runtime.steps import Slots, TorchStep


def torch_step(layer: Layer, slots: Mapping[str, int], last: tuple[int, ...]) -> TorchStep:
    """The step of a layer that torch computes; `slots` are all plain values', `last` those that it frees."""
    reads = [slots[name] for name in layer.inputs]
    if isinstance(layer.core, Result):
        (source,) = layer.inputs
        index, read = layer.core.index, reads[0]
        return TorchStep(source, "getitem", lambda values: values[read][index], slots[layer.name], last)
    core = layer.core
    assert isinstance(core, Extern)
    return TorchStep(layer.name, str(core.overload), _call(core, reads), slots[layer.name], last)


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


def _call(core: Extern, reads: list[int]) -> Callable[[Slots], Any]:
    """The operator's call on the values in the slots `reads`."""
    overload, arguments, keywords = core.overload, core.arguments, dict(core.keywords)
    nested = [a for a in (*arguments, *keywords.values()) if isinstance(a, list | tuple)]
    if any(isinstance(value, Read) for value in keywords.values()) or any(map(_reads, nested)):
        return lambda values: overload(
            *(_filled(each, values, reads) for each in arguments),
            **{name: _filled(each, values, reads) for name, each in keywords.items()},
        )
    places = [(at, reads[each.index]) for at, each in enumerate(arguments) if isinstance(each, Read)]

    def call(values: Slots) -> Any:
        given = list(arguments)
        for at, slot in places:
            given[at] = values[slot]
        return overload(*given, **keywords)

    return call


def _reads(argument: Any) -> bool:
    """Whether an argument holds a place for a value."""
    if isinstance(argument, list | tuple):
        return any(map(_reads, argument))
    return isinstance(argument, Read)


def _filled(argument: Any, values: Slots, reads: list[int]) -> Any:
    """The argument with values in their places."""
    if isinstance(argument, list | tuple):
        return [_filled(each, values, reads) for each in argument]
    return values[reads[argument.index]] if isinstance(argument, Read) else argument
