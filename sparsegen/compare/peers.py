"""Dense rivals: torch eager in both memory formats, and torch.compile with frozen weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree

from sparsegen.compare.timing import Call
from sparsegen.graph import Conv2d

NCHW, NHWC, COMPILED = "torch-nchw", "torch-nhwc", "torch-compile"


def convolve(conv: Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply torch's convolution as `conv` says, with other tensors for its weight and bias.

    `x` is [N, C, H, W]. Uneven padding, which torch's own convolution does not know, is a step
    before it.
    """
    top, bottom, left, right = conv.padding
    even = top == bottom and left == right
    if not even:
        x = F.pad(x, (left, right, top, bottom))
    padding = (top, left) if even else (0, 0)
    return F.conv2d(x, weight, bias, conv.stride, padding, conv.dilation, conv.groups)


def convolution_peers(conv: Conv2d, x: Tensor) -> dict[str, Call]:
    """Calls of torch's convolution of `x`, weights and input in the memory format of each."""
    bias = None if conv.bias is None else torch.from_numpy(conv.bias)

    def peer(memory_format: torch.memory_format) -> Call:
        weight = torch.from_numpy(conv.weight).contiguous(memory_format=memory_format)
        image = x.contiguous(memory_format=memory_format)
        return lambda: convolve(conv, image, weight, bias)

    return {NCHW: peer(torch.contiguous_format), NHWC: peer(torch.channels_last)}


def network_reference(
    model: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any] | None = None
) -> Any:
    """The model's result in float64; integers and what is no tensor stay as they are."""

    def double(value: Any) -> Any:
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    exact, exact_named = _pytree.tree_map(double, (inputs, dict(named or {})))
    return copy.deepcopy(model).double()(*exact, **exact_named)


def network_peers(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[dict[str, Call], dict[str, str]]:
    """Calls of the model by peer, and why others are absent; gradients have to be off."""
    found = {
        NCHW: lambda: model(*inputs),
        NHWC: channels_last_peer(model, inputs),
        COMPILED: compiled_peer(model, inputs),
    }
    absent = {name: call for name, call in found.items() if isinstance(call, str)}
    return {name: call for name, call in found.items() if not isinstance(call, str)}, absent


def channels_last_peer(model: nn.Module, inputs: tuple[Any, ...]) -> Call | str:
    """Call of a copy of the model with weights and images in channels_last, or why there is none.

    Not every model runs so: a `view` across channels and pixels, as VGG's, refuses the format.
    """
    moved = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = tuple(
        x.contiguous(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x
        for x in inputs
    )
    try:
        moved(*images)
    except RuntimeError as error:
        return _reason(error)
    return lambda: moved(*images)


def compiled_peer(model: nn.Module, inputs: tuple[Any, ...]) -> Call | str:
    """Call of the model through torch.compile with frozen weights, or why there is none.

    Compiles here, so that the first call is as fast as the rest; gradients have to be off.
    `fullgraph` makes torch fail where it would otherwise run part of the model, or all of it, eagerly. What
    the process has compiled before is forgotten: after eight models of one class torch compiles no more.
    """
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True)
    # One compile thread: a pool of workers would still be starting while others are timed.
    options = torch._inductor.config.patch(freezing=True, compile_threads=1)
    try:
        with options, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled(*inputs)
    except Exception as error:  # whatever the compiler or its C++ tool chain raises
        return _reason(error)
    return lambda: compiled(*inputs)


def _reason(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "no reason given")
    return f"{type(error).__name__}: {first}"
