"""The tensors that a compiled model is called with, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sparsegen.errors import InputError


@dataclass(frozen=True)
class InputForm:
    """What one input has to be: a tensor on the CPU of a shape and dtype; `name` is for messages."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


def checked_inputs(inputs: Sequence[Any], forms: Sequence[InputForm]) -> list[torch.Tensor]:
    """The inputs as plain tensors without gradients, of any strides; their memory is the caller's.

    Raises InputError for what is no tensor on the CPU of its shape and dtype.
    """
    if len(inputs) != len(forms):
        wanted = f"{len(forms)} input{'s' if len(forms) != 1 else ''}"
        shapes = " and ".join(str(form.shape) for form in forms)
        raise InputError(f"the model takes {wanted} of shape {shapes}, {len(inputs)} were given")
    return [_checked(tensor, form) for tensor, form in zip(inputs, forms, strict=True)]


def _checked(given: Any, form: InputForm) -> torch.Tensor:
    tensor: torch.Tensor = given if type(given) is torch.Tensor else _plain(form.name, given)
    name = form.name
    if not tensor.is_cpu:
        raise InputError(f"{name} is on {tensor.device}; compiled models run on the CPU: call .cpu()")
    if tensor.dtype != form.dtype:
        taken = "compiled models take" if form.dtype == torch.float32 else "the model was compiled for"
        raise InputError(
            f"{name} has dtype {tensor.dtype}; {taken} {form.dtype}: give {_cast(tensor, form.dtype)}"
        )
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.").lstrip("_")
        advice = "torch.nested.to_padded_tensor" if tensor.is_nested else ".to_dense()"
        raise InputError(f"{name} is a {kind} tensor; compiled models take dense ones: call {advice}")
    if tensor.shape != form.shape:
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; the model was compiled for {form.shape}: "
            "compile it for this size too; batches=[1, 4] takes any number of rows"
        )
    cause: Exception | None = None
    try:
        if tensor.data_ptr():
            # A negative view holds the numbers with the other sign.
            return (tensor.resolve_neg() if tensor.is_neg() else tensor).detach()
        if tensor._is_zerotensor():  # torch knows what is in it without any memory
            return tensor.detach().clone()
    except (RuntimeError, AssertionError) as error:  # torch's own, of either type
        cause = error
    raise InputError(
        f"{name} has no memory of its own, as inside torch.func, torch.vmap or FakeTensorMode, or once its "
        "storage is freed; call a compiled model outside of them, with a tensor of numbers"
    ) from cause


def _plain(name: str, value: Any) -> torch.Tensor:
    """The tensor without the subclass that it is of; its memory is shared."""
    if isinstance(value, np.ndarray):
        raise InputError(f"{name} is a {type(value).__name__}; give a torch.Tensor: torch.from_numpy(...)")
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} is a {type(value).__name__}; give a torch.Tensor")
    if type(value).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise InputError(
            f"{name} is a {type(value).__name__}, which may hold no numbers itself; give a plain torch.Tensor"
        )
    return value.as_subclass(torch.Tensor)


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> str:
    if dtype != torch.float32:
        return f".to({dtype})"
    if tensor.is_quantized:
        return ".dequantize()"
    return ".real" if tensor.is_complex() else ".float()"
