"""Core operators as torch computes them, as a user of torch would write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.graph import (
    AdaptivePool2d,
    Array,
    Concat,
    Conv2d,
    Extern,
    Gather,
    GroupNorm,
    Identity,
    Layer,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MatMul,
    Mean,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Pool2d,
    Read,
    Recurrent,
    Reduce,
    Resample2d,
    Reshape,
    Result,
    SeparableConv2d,
    Shape,
    Slice,
    Softmax,
    Step,
)
from sparsegen.torch_graph.recurrent import recurrence
from sparsegen.torch_graph.steps import step_function
from sparsegen.torch_graph.windows import convolution, pooling, resampling

CoreFunction = Callable[..., Any]
"""A core's result, of its inputs; a tuple for an operator of torch's with several."""

MAKES_NEW = (Conv2d, SeparableConv2d, Linear, Pool2d, MatMul, Concat, LayerNorm, GroupNorm)
"""Cores whose result is a tensor of their own, into which steps may write."""

_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "sum": lambda x, dims, keepdim: x.sum(dims, keepdim),
    "max": lambda x, dims, keepdim: x.amax(dims, keepdim),
    "min": lambda x, dims, keepdim: x.amin(dims, keepdim),
    "prod": lambda x, dims, keepdim: _product(x, dims, keepdim),
    "squares": lambda x, dims, keepdim: x.square().sum(dims, keepdim),
    "magnitudes": lambda x, dims, keepdim: x.abs().sum(dims, keepdim),
    "deviations": lambda x, dims, keepdim: (
        torch.var(x, dims, correction=0, keepdim=keepdim) * _count(x, dims)
    ),
    "logsumexp": lambda x, dims, keepdim: x.logsumexp(dims, keepdim),
}


def core_function(
    layer: Layer, sources: list[Shape], constants: Mapping[str, Array], device: torch.device
) -> tuple[CoreFunction, int]:
    """What computes a layer's core of inputs of the `sources`' shapes, its weights on the device.

    Also the number of steps of the epilogue that it computes too: a norm's weight and bias.
    """
    match layer.core:
        case LayerNorm() | GroupNorm():
            return _norm(layer, sources[0], constants, device)
        case Conv2d():
            return convolution(layer.core, device), 0
        case SeparableConv2d():
            return _separable(layer.core, device), 0
        case Linear(weight, bias):
            placed, offset = _placed(weight, device), None if bias is None else _placed(bias, device)
            return (lambda x: F.linear(x, placed, offset)), 0
        case Pool2d():
            return pooling(layer.core, sources[0], layer.shape, device), 0
        case Resample2d():
            return resampling(layer.core, sources[0], layer.shape, device), 0
        case Recurrent():
            return recurrence(layer.core, device), 0
        case Extern():
            return _extern(layer.core, device), 0
        case Gather(dim, indices):
            places = torch.tensor(indices, device=device)
            return (lambda x: x.index_select(dim, places)), 0
    return _arithmetic(layer) or _movement(layer), 0


def _arithmetic(layer: Layer) -> CoreFunction | None:
    """Cores without weights that compute."""
    match layer.core:
        case AdaptivePool2d(kind, output):
            function = F.adaptive_max_pool2d if kind == "max" else F.adaptive_avg_pool2d
            return lambda x: function(x, output)
        case Mean(dims, keepdim):
            return lambda x: x.mean(dims, keepdim)
        case Reduce(kind, dims, keepdim):
            return lambda x: _REDUCTIONS[kind](x, list(dims), keepdim)
        case LogSoftmax(dim):
            return lambda x: x.log_softmax(dim)
        case Softmax(dim, zero_if_masked):
            return lambda x: torch._safe_softmax(x, dim) if zero_if_masked else x.softmax(dim)
        case LocalResponseNorm(size, alpha, beta, bias):
            return lambda x: F.local_response_norm(x, size, alpha, beta, bias)
        case MatMul(turn_a, turn_b):
            return lambda a, b: torch.matmul(a.mT if turn_a else a, b.mT if turn_b else b)
    return None


def _movement(layer: Layer) -> CoreFunction:
    """Cores that move elements."""
    shape = layer.shape
    match layer.core:
        case Identity():
            return lambda x: x
        case Result(index):
            return lambda results: results[index]
        case Concat(dim):
            return lambda *parts: torch.cat(parts, dim)
        case Reshape():
            return lambda x: x.reshape(shape)
        case Permute(dims):
            return lambda x: x.permute(dims)
        case Slice(dim, start, step):
            return _slice(dim, start, step, shape[dim])
        case Pad(amounts, value):
            padding = [amount for pair in reversed(amounts) for amount in pair]
            return lambda x: F.pad(x, padding, value=value)
        case PixelShuffle():
            return _shuffle(layer.core, shape)
        case PixelUnshuffle((a, b)):
            return lambda x: (
                x.unflatten(3, (-1, b)).unflatten(2, (-1, a)).permute(0, 1, 3, 5, 2, 4).reshape(shape)
            )
    raise AssertionError(
        f"layer {layer.name!r}: {type(layer.core).__name__} is made for kernels, not for torch"
    )


def _separable(core: SeparableConv2d, device: torch.device) -> CoreFunction:
    depthwise, pointwise = convolution(core.depthwise, device), convolution(core.pointwise, device)
    steps = [(step_function(step, in_place=True), step.operand) for step in core.steps]

    def run(x: Tensor) -> Tensor:
        value = depthwise(x)
        for function, operand in steps:
            assert not isinstance(operand, str)
            value = function(value, operand)
        return pointwise(value)

    return run


def _norm(
    layer: Layer, source: Shape, constants: Mapping[str, Array], device: torch.device
) -> tuple[CoreFunction, int]:
    """A norm with the weight and the bias that the layer's first steps are, where torch's takes them."""
    core = layer.core
    if isinstance(core, GroupNorm):
        groups, eps = core.groups, core.eps
        scale, shift = _affine(layer, constants, (source[1], *(1 for _ in source[2:])), device)
        weight, bias = (None if each is None else each.flatten() for each in (scale, shift))
        return (lambda x: F.group_norm(x, groups, weight, bias, eps)), _steps(scale, shift)
    assert isinstance(core, LayerNorm)
    dims, eps = core.dims, core.eps
    extents = tuple(source[dim] for dim in dims)
    if dims != tuple(range(len(source) - len(dims), len(source))):
        return _norm_anywhere(core), 0
    scale, shift = _affine(layer, constants, extents, device)
    if not core.centred:
        return (lambda x: F.rms_norm(x, extents, scale, eps)), _steps(scale, None)
    return (lambda x: F.layer_norm(x, extents, scale, shift, eps)), _steps(scale, shift)


def _norm_anywhere(core: LayerNorm) -> CoreFunction:
    """Over dimensions that are not the last ones: torch has no operator for that."""
    dims, eps = core.dims, core.eps

    def run(x: Tensor) -> Tensor:
        if not core.centred:
            return x * torch.rsqrt(x.square().mean(dims, keepdim=True) + eps)
        variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + eps)

    return run


def _affine(
    layer: Layer, constants: Mapping[str, Array], shape: Shape, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """The factor of the layer's first step and the term of the second, where both are of this shape."""

    def operand(step: Step, op: str) -> Tensor | None:
        array = constants.get(step.operand) if isinstance(step.operand, str) and step.op == op else None
        return _placed(array, device) if array is not None and array.shape == shape else None

    steps = layer.epilogue
    scale = operand(steps[0], "mul") if steps else None
    return scale, operand(steps[1], "add") if scale is not None and len(steps) > 1 else None


def _steps(scale: Tensor | None, shift: Tensor | None) -> int:
    return sum(each is not None for each in (scale, shift))


def _slice(dim: int, start: int, step: int, extent: int) -> CoreFunction:
    """Every `step`-th element; torch's slices go forward."""
    last = start + step * (extent - 1)
    begin, end = min(start, last), max(start, last) + 1
    places = slice(begin, end, abs(step))
    index = (*(slice(None) for _ in range(dim)), places)
    return (lambda x: x[index]) if step > 0 else (lambda x: x[index].flip(dim))


def _shuffle(core: PixelShuffle, shape: Shape) -> CoreFunction:
    (a, b), (top, left), (_, _, height, width) = core.factors, core.crop, shape

    def run(x: Tensor) -> Tensor:
        if a == b:
            whole = F.pixel_shuffle(x, a)
        else:
            batch, channels, rows, columns = x.shape
            parts = x.reshape(batch, channels // (a * b), a, b, rows, columns).permute(0, 1, 4, 2, 5, 3)
            whole = parts.flatten(4, 5).flatten(2, 3)
        return whole[:, :, top : top + height, left : left + width]

    return run


def _unshuffle(a: int, b: int, shape: Shape) -> CoreFunction:
    if a == b:
        return lambda x: F.pixel_unshuffle(x, a)
    batch, channels, rows, columns = shape
    split = (batch, channels // (a * b), rows, a, columns, b)
    return lambda x: x.reshape(split).permute(0, 1, 3, 5, 2, 4).reshape(shape)


def _extern(core: Extern, device: torch.device) -> CoreFunction:
    """The operator, its constant tensors on the device, and made there what it makes."""
    arguments = [_bound(each, device) for each in core.arguments]
    keywords = {name: _bound(each, device) for name, each in core.keywords.items()}
    return lambda *inputs: core.overload(
        *(_filled(each, inputs) for each in arguments),
        **{name: _filled(each, inputs) for name, each in keywords.items()},
    )


def _bound(argument: Any, device: torch.device) -> Any:
    match argument:
        case list() | tuple():
            return [_bound(each, device) for each in argument]
        case Tensor():
            return argument.to(device)
        case torch.device():
            return device
    return argument


def _filled(argument: Any, inputs: tuple[Any, ...]) -> Any:
    if isinstance(argument, list):
        return [_filled(each, inputs) for each in argument]
    return inputs[argument.index] if isinstance(argument, Read) else argument


def _product(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        x = x.prod(dim, keepdim)
    return x


def _count(x: Tensor, dims: list[int]) -> int:
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    return count


def _placed(array: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)
