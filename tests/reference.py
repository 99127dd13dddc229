"""A plain evaluator of layer graphs in float64: what every kernel and pass is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.graph import (
    AdaptivePool2d,
    Concat,
    Conv2d,
    Extern,
    Gather,
    GroupNorm,
    Identity,
    Interpolation,
    Layer,
    LayerGraph,
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
from sparsegen.reference import as_double, convolution_reference, evaluate_operator

UNARY_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
    "neg": torch.neg,
    "abs": torch.abs,
    "expm1": torch.expm1,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "square": torch.square,
    "cube": lambda x: x**3,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "round": torch.round,
    "sign": torch.sign,
    "log_sigmoid": F.logsigmoid,
    "mish": F.mish,
    "softsign": F.softsign,
}
PARAMETRIC_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "leaky_relu": F.leaky_relu,
    "clamp": torch.clamp,
    "pow": torch.pow,
    "elu": torch.ops.aten.elu,
    "softplus": F.softplus,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "threshold": F.threshold,
    "piecewise": lambda x, *parameters: piecewise(x, *parameters),
}
BINARY_FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}

REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "prod": lambda x, dims, keepdim: product(x, dims, keepdim),
    "squares": lambda x, dims, keepdim: (x * x).sum(dims, keepdim),
    "magnitudes": lambda x, dims, keepdim: x.abs().sum(dims, keepdim),
    "deviations": lambda x, dims, keepdim: (x - x.mean(dims, True)).square().sum(dims, keepdim),
    "logsumexp": torch.logsumexp,
}


def piecewise(x: Tensor, constant: float, slope: float, *rest: float) -> Tensor:
    """The sum of ReLUs in exact arithmetic, of the finite; at infinity what the outermost slope gives."""
    bends = [(Fraction(knot), Fraction(bend)) for knot, bend in zip(rest[::2], rest[1::2], strict=True)]
    ends = {-math.inf: slope, math.inf: slope + math.fsum(rest[1::2])}
    flat = {-math.inf: (rest[0] if rest else 0.0) - 1.0, math.inf: (rest[-2] if rest else 0.0) + 1.0}

    def at(value: float) -> float:
        if math.isinf(value) and abs(ends[value]) > 1e-12:
            return value * ends[value]
        if math.isnan(value):
            return value
        place = Fraction(flat.get(value, value))
        relus = (bend * (place - knot) for knot, bend in bends if place > knot)
        return float(Fraction(constant) + Fraction(slope) * place + sum(relus))

    return torch.tensor([at(value) for value in x.flatten().tolist()], dtype=x.dtype).reshape(x.shape)


def product(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for dim in reversed(dims):
        x = x.prod(dim, keepdim)
    return x


def evaluate(graph: LayerGraph, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The graph's outputs, flat and in float64 where they are of real numbers, for inputs of its shapes.

    Raises AssertionError where a value has not the shape that the graph promises.
    """
    values = {name: as_double(array) for name, array in graph.constants.items()}
    for (name, shape), value in zip(graph.inputs.items(), inputs, strict=True):
        check_shape(name, value, shape)
        values[name] = exact(value)
    for layer in graph.layers:
        value = evaluate_core(layer, [values[name] for name in layer.inputs])
        for step in layer.epilogue:
            value = evaluate_step(step, value, values)
        if isinstance(value, Tensor):
            check_shape(layer.name, value, layer.shape)
        values[layer.name] = value
    return tuple(values[name] for name in graph.outputs)


def exact(argument: Any) -> Any:
    """A float32 tensor, and the type itself, in float64; everything else as it is."""
    if argument is torch.float32:
        return torch.float64
    is_single = isinstance(argument, Tensor) and argument.dtype == torch.float32
    return argument.double() if is_single else argument


def evaluate_extern(core: Extern, inputs: list[Tensor]) -> Any:
    """What torch computes, in float64 where it would in float32."""

    def filled(argument: Any) -> Any:
        if isinstance(argument, list | tuple):
            return [filled(each) for each in argument]
        return inputs[argument.index] if isinstance(argument, Read) else exact(argument)

    keywords = {name: filled(each) for name, each in core.keywords.items()}
    return core.overload(*map(filled, core.arguments), **keywords)


def check_shape(name: str, value: Tensor, shape: Shape) -> None:
    assert tuple(value.shape) == shape, f"{name} has shape {tuple(value.shape)}, the graph says {shape}"


def evaluate_step(step: Step, value: Tensor, values: dict[str, Tensor]) -> Tensor:
    """The step's result; its shape is `value`'s, for an operand only broadcasts into it."""
    if step.op in PARAMETRIC_FUNCTIONS:
        return PARAMETRIC_FUNCTIONS[step.op](value, *step.parameters)
    if step.op in UNARY_FUNCTIONS:
        return UNARY_FUNCTIONS[step.op](value)
    assert step.operand is not None, f"{step.op} has no operand"
    operand = values[step.operand] if isinstance(step.operand, str) else torch.tensor(step.operand).double()
    if step.op == "prelu":
        return torch.where(value > 0, value, operand * value)
    if step.op == "select":
        return torch.where(operand != 0, value, step.parameters[0])
    sides = (operand, value) if step.reverse else (value, operand)
    result = BINARY_FUNCTIONS[step.op](*sides)
    check_shape(f"the result of {step}", result, tuple(value.shape))
    return result


def evaluate_core(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """The core's result, before the epilogue."""
    value = inputs[0]
    match layer.core:
        case Identity():
            return value
        case Extern():
            return evaluate_extern(layer.core, inputs)
        case Result(index):
            return value[index]
        case Conv2d() | Linear() | Pool2d() | AdaptivePool2d():
            return evaluate_operator(layer.core, value, layer.shape)
        case SeparableConv2d(depthwise, steps, pointwise):
            value = convolution_reference(depthwise, value)
            for step in steps:
                value = evaluate_step(step, value, {})
            return convolution_reference(pointwise, value)
        case Resample2d(rows, columns):
            return interpolate(interpolate(value, rows, 2), columns, 3)
        case PixelShuffle((a, b), (top, left)):
            batch, _, height, width = value.shape
            parts = value.reshape(batch, -1, a, b, height, width).permute(0, 1, 4, 2, 5, 3)
            whole = parts.reshape(batch, -1, height * a, width * b)
            return whole[:, :, top : top + layer.shape[2], left : left + layer.shape[3]]
        case PixelUnshuffle((a, b)):
            batch, channels, height, width = value.shape
            parts = value.reshape(batch, channels, height // a, a, width // b, b).permute(0, 1, 3, 5, 2, 4)
            return parts.reshape(layer.shape)
        case Mean(dims, keepdim):
            return value.mean(dims, keepdim=keepdim)
        case LayerNorm(dims, eps, centred=False):
            return value / (value.square().mean(dims, keepdim=True) + eps).sqrt()
        case GroupNorm(groups, eps):
            return F.group_norm(value, groups, eps=eps)
        case LocalResponseNorm(size, alpha, beta, bias):
            return F.local_response_norm(value, size, alpha, beta, bias)
        case Reduce(kind, dims, keepdim):
            return REDUCTIONS[kind](value, list(dims), keepdim)
        case LogSoftmax(dim):
            return value.log_softmax(dim)
        case Gather(dim, indices):
            return value.index_select(dim, torch.tensor(indices))
        case Softmax(dim, zero_if_masked):
            return torch._safe_softmax(value, dim) if zero_if_masked else value.softmax(dim)
        case LayerNorm(dims, eps):
            variance, mean = torch.var_mean(value, dims, correction=0, keepdim=True)
            return (value - mean) / (variance + eps).sqrt()
        case MatMul(transpose_a, transpose_b):
            left, right = inputs
            return torch.matmul(left.mT if transpose_a else left, right.mT if transpose_b else right)
        case Recurrent():
            return recur(layer.core, *inputs)
        case Concat(dim):
            return torch.cat(inputs, dim)
        case Reshape():
            return value.reshape(layer.shape)
        case Permute(dims):
            return value.permute(dims)
        case Slice(dim, start, step):
            return value.index_select(dim, start + step * torch.arange(layer.shape[dim]))
        case Pad(amounts, fill):
            return F.pad(value, [amount for pair in reversed(amounts) for amount in pair], value=fill)
    raise AssertionError(f"{layer.name} has a core that this evaluator does not know: {layer.core}")


def recur(core: Recurrent, products: Tensor, *states: Tensor) -> Tensor:
    """The hidden states of all steps, then the last cell state where it is kept."""
    batch, steps, _ = products.shape
    gates = products.unflatten(2, (core.gates, -1))[..., : core.hidden]
    zeros = torch.zeros(batch, core.hidden).double()
    hidden, cell = (*states, zeros, zeros)[:2]
    weight = as_double(core.weight)
    bias = 0.0 if core.bias is None else as_double(core.bias)
    results = [hidden] * steps
    for step in reversed(range(steps)) if core.reverse else range(steps):
        given, own = gates[:, step].unbind(1), (hidden @ weight.T).chunk(core.gates, 1)
        first, second = (torch.sigmoid(given[i] + own[i]) for i in range(2))
        if core.kind == "lstm":
            cell = second * cell + first * torch.tanh(given[2] + own[2])
            hidden = torch.sigmoid(given[3] + own[3]) * torch.tanh(cell)
        else:
            new = torch.tanh(given[2] + first * (own[2] + bias))
            hidden = (1 - second) * new + second * hidden
        results[step] = hidden
    return torch.stack([*results, *([cell] if core.keeps_cell else [])], 1)


def interpolate(value: Tensor, axis: Interpolation, dim: int) -> Tensor:
    """`value` with another extent along a dimension."""
    along = (-1, *(1 for _ in range(value.dim() - dim - 1)))
    taps = zip(torch.from_numpy(axis.reads).T, torch.from_numpy(axis.weights).T, strict=True)
    return sum(weight.double().view(along) * value.index_select(dim, at) for at, weight in taps)
