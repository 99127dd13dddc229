"""Torch's operators as data, and as calls."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsegen.errors import ProgramError
from sparsegen.runtime.program import Argument, Slot, TorchCall, TorchConstant, Weight, slots_in

_KINDS = {torch.dtype: "dtype", torch.layout: "layout", torch.memory_format: "memory_format"}
GET_ITEM = "getitem"
"""The operator that takes one of several results."""


def as_data(value: Any, tensor: Callable[[torch.Tensor], Weight]) -> Argument:
    """An argument of torch's, no list, as a program has it; `tensor` gives what stands for a constant one."""
    if isinstance(value, torch.Tensor):
        return tensor(value)
    if isinstance(value, torch.device):
        return TorchConstant("device", str(value))
    kind = _KINDS.get(type(value))
    return value if kind is None else TorchConstant(kind, str(value).removeprefix("torch."))  # type: ignore[arg-type]


def bind_operator(call: TorchCall, arrays: Mapping[int, Any]) -> Callable[[list[Any]], Any]:
    """What the call gives, of a model call's slots; `arrays` are the program's, by number, as tensors."""
    target = operator.getitem if call.operator == GET_ITEM else _overload(call.operator)
    arguments = [_bound(each, arrays) for each in call.arguments]
    keywords = {name: _bound(each, arrays) for name, each in call.keywords}
    nested = [each for each in arguments if isinstance(each, list)]
    if any(slots_in([*nested, *keywords.values()])):
        return lambda slots: target(
            *(_filled(each, slots) for each in arguments),
            **{name: _filled(each, slots) for name, each in keywords.items()},
        )
    places = [(at, each.index) for at, each in enumerate(arguments) if isinstance(each, Slot)]

    def run(slots: list[Any]) -> Any:
        given = list(arguments)
        for at, slot in places:
            given[at] = slots[slot]
        return target(*given, **keywords)

    return run


def _overload(name: str) -> Any:
    """The operator of a name: `namespace.operator.overload`; raises ProgramError where torch has none."""
    found: Any = torch.ops
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except (AttributeError, RuntimeError) as error:
        raise ProgramError(
            f"torch has no operator {name!r} here: import the package that registers it"
        ) from error
    return found


def _bound(argument: Argument, arrays: Mapping[int, Any]) -> Any:
    """The argument as torch takes it, but for slots."""
    if isinstance(argument, tuple):
        return [_bound(each, arrays) for each in argument]
    if isinstance(argument, Weight):
        return arrays[argument.index]
    if isinstance(argument, TorchConstant):
        return _constant(argument)
    return argument


def _constant(constant: TorchConstant) -> Any:
    """Torch's constant of a name; raises ProgramError where torch has none."""
    try:
        if constant.kind == "device":
            return torch.device(constant.name)
        found = getattr(torch, constant.name, None)
    except RuntimeError:
        found = None
    if _KINDS.get(type(found)) != constant.kind:
        raise ProgramError(f"torch has no {constant.kind} {constant.name!r} here: compile the model again")
    return found


def _filled(bound: Any, slots: list[Any]) -> Any:
    """The argument with tensors in place of slots."""
    if isinstance(bound, list):
        return [_filled(each, slots) for each in bound]
    return slots[bound.index] if isinstance(bound, Slot) else bound


def bytes_of(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """The elements of a tensor, of any type and strides, row-major, as their bytes."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().cpu()
    # A single element may have any strides, as those of an expanded tensor, and counts as row-major.
    return plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy()
