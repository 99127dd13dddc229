"""A plain evaluator of layer graphs in float64: what every kernel and pass is compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.graph import (
    AdaptivePool2d,
    Concat,
    Conv2d,
    Identity,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    MatMul,
    Mean,
    Pad,
    Permute,
    Pool2d,
    Reshape,
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
}
BINARY_FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
}


def evaluate(graph: LayerGraph, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The graph's outputs, flat and in float64, for inputs of the graph's shapes.

    Raises AssertionError where a value has not the shape that the graph promises.
    """
    values = {name: as_double(array) for name, array in graph.constants.items()}
    for (name, shape), value in zip(graph.inputs.items(), inputs, strict=True):
        check_shape(name, value, shape)
        values[name] = value.double()
    for layer in graph.layers:
        value = evaluate_core(layer, [values[name] for name in layer.inputs])
        for step in layer.epilogue:
            value = evaluate_step(step, value, values)
        check_shape(layer.name, value, layer.shape)
        values[layer.name] = value
    return tuple(values[name] for name in graph.outputs)


def check_shape(name: str, value: Tensor, shape: Shape) -> None:
    assert tuple(value.shape) == shape, f"{name} has shape {tuple(value.shape)}, the graph says {shape}"


def evaluate_step(step: Step, value: Tensor, values: dict[str, Tensor]) -> Tensor:
    """The step's result; its shape is `value`'s, for an operand only broadcasts into it."""
    if step.op == "leaky_relu":
        return F.leaky_relu(value, negative_slope=step.parameters[0])
    if step.op == "clamp":
        return value.clamp(*step.parameters)
    if step.op in UNARY_FUNCTIONS:
        return UNARY_FUNCTIONS[step.op](value)
    assert step.operand is not None, f"{step.op} has no operand"
    operand = values[step.operand] if isinstance(step.operand, str) else torch.tensor(step.operand).double()
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
        case Conv2d() | Linear() | Pool2d() | AdaptivePool2d():
            return evaluate_operator(layer.core, value, layer.shape)
        case SeparableConv2d(depthwise, steps, pointwise):
            value = convolution_reference(depthwise, value)
            for step in steps:
                value = evaluate_step(step, value, {})
            return convolution_reference(pointwise, value)
        case Mean(dims, keepdim):
            return value.mean(dims, keepdim=keepdim)
        case Softmax(dim, zero_if_masked):
            return torch._safe_softmax(value, dim) if zero_if_masked else value.softmax(dim)
        case LayerNorm(dims, eps):
            variance, mean = torch.var_mean(value, dims, correction=0, keepdim=True)
            return (value - mean) / (variance + eps).sqrt()
        case MatMul(transpose_a, transpose_b):
            left, right = inputs
            return torch.matmul(left.mT if transpose_a else left, right.mT if transpose_b else right)
        case Concat(dim):
            return torch.cat(inputs, dim)
        case Reshape():
            return value.reshape(layer.shape)
        case Permute(dims):
            return value.permute(dims)
        case Slice(dim, start, step):
            stop = start + (layer.shape[dim] - 1) * step + 1
            return value.index_select(dim, torch.arange(start, stop, step))
        case Pad(amounts, fill):
            return F.pad(value, [amount for pair in reversed(amounts) for amount in pair], value=fill)
    raise AssertionError(f"{layer.name} has a core that this evaluator does not know: {layer.core}")
