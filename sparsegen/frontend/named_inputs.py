"""Random example inputs for models that are given by name."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sparsegen.errors import ModelError, OptionError
from sparsegen.options import ExampleInput

SEED = 0


def random_inputs(kinds: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> tuple[torch.Tensor, ...]:
    """Tensors of shapes and dtypes, always the same; integers are 0 or 1, which every table has."""
    generator = torch.Generator().manual_seed(SEED)

    def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if dtype.is_floating_point:
            return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(dtype)
        return torch.randint(0, 2, shape, generator=generator, device="cpu").to(dtype)

    return tuple(drawn(shape, dtype) for shape, dtype in kinds)


def arguments(model: nn.Module, inputs: Sequence[ExampleInput], batch: int) -> tuple[Any, ...]:
    """The positional arguments of a model for inputs by position and by name, what lies between as it is.

    Raises OptionError for a dtype that torch does not have, and ModelError where the model does not take the
    inputs.
    """
    kinds = [(each.full_shape(batch), _dtype(each.dtype)) for each in inputs]
    drawn = random_inputs(kinds)
    positional = [tensor for each, tensor in zip(inputs, drawn, strict=True) if each.name is None]
    named = {each.name: tensor for each, tensor in zip(inputs, drawn, strict=True) if each.name is not None}
    try:
        bound = inspect.signature(model.forward).bind(*positional, **named)
    except TypeError as error:
        raise ModelError(
            f"forward of {type(model).__name__} cannot be called with the inputs that are given: {error}"
        ) from error
    last = list(bound.arguments)[-1:]
    bound.apply_defaults()
    if by_name_alone := ", ".join(bound.kwargs.keys() & named.keys()):
        raise ModelError(
            f"forward of {type(model).__name__} takes {by_name_alone} by name alone: give it to Python's "
            f"sparsegen.compile, in kwargs"
        )
    count = list(bound.arguments).index(last[0]) + 1 if last else 0
    return bound.args[: max(count, len(positional))]


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or found.is_complex:
        raise OptionError(f"dtype is {name!r}: give one of torch's, such as float32, int64 or bool")
    return found
