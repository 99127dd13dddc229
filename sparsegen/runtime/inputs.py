"""What a compiled model is called with: checked, and laid out as generated code reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sparsegen.errors import InputError


def flat_inputs(inputs: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
    """The inputs, each flat and contiguous; a copy where it is not so in memory.

    Raises SparsegenError for what is no float32 tensor on the CPU of its shape.
    """
    if len(inputs) != len(shapes):
        wanted = f"{len(shapes)} input{'s' if len(shapes) != 1 else ''}"
        raise InputError(
            f"the model takes {wanted} of shape {' and '.join(map(str, shapes))}, {len(inputs)} were given"
        )
    return [
        _flat(f"input {i}", tensor, shape)
        for i, (tensor, shape) in enumerate(zip(inputs, shapes, strict=True))
    ]


def _flat(name: str, given: Any, shape: tuple[int, ...]) -> torch.Tensor:
    tensor: torch.Tensor = given if type(given) is torch.Tensor else _plain(name, given)
    if not tensor.is_cpu:
        raise InputError(f"{name} is on {tensor.device}; compiled models run on the CPU: call .cpu()")
    if tensor.dtype != torch.float32:
        raise InputError(
            f"{name} has dtype {tensor.dtype}; compiled models take torch.float32: give {_to_float(tensor)}"
        )
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.").lstrip("_")
        advice = "torch.nested.to_padded_tensor" if tensor.is_nested else ".to_dense()"
        raise InputError(f"{name} is a {kind} tensor; compiled models take dense ones: call {advice}")
    if tensor.shape != shape:
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; the model was compiled for {shape}: "
            "compile once per batch size and image size"
        )
    cause: Exception | None = None
    try:
        if tensor.data_ptr():
            # A negative view holds the numbers with the other sign, and is contiguous as it is.
            plain = tensor.resolve_neg() if tensor.is_neg() else tensor
            return plain.detach().contiguous().view(-1)
        if tensor._is_zerotensor():  # torch knows what is in it without any memory
            return tensor.detach().clone().view(-1)
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


def _to_float(tensor: torch.Tensor) -> str:
    if tensor.is_quantized:
        return ".dequantize()"
    return ".real" if tensor.is_complex() else ".float()"
