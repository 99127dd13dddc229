"""Pointwise steps as torch computes them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.graph import Piecewise, Step

Operand = Tensor | float | None
StepFunction = Callable[[Tensor, Operand], Tensor]
"""The step's result, of a value and the step's operand."""

_UNARY: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu, "relu6": F.relu6, "silu": F.silu, "gelu": F.gelu, "sigmoid": torch.sigmoid,
    "tanh": torch.tanh, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "exp": torch.exp,
    "sqrt": torch.sqrt, "neg": torch.neg, "abs": torch.abs, "expm1": torch.expm1, "log": torch.log,
    "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p, "square": torch.square, "erf": torch.erf,
    "sin": torch.sin, "cos": torch.cos, "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc,
    "round": torch.round, "sign": torch.sign, "log_sigmoid": F.logsigmoid, "mish": F.mish,
    "softsign": F.softsign, "leaky_relu": F.leaky_relu, "clamp": torch.clamp, "pow": torch.pow,
    "elu": torch.ops.aten.elu.default, "softplus": F.softplus, "hardshrink": F.hardshrink,
    "softshrink": F.softshrink, "threshold": F.threshold,
}  # fmt: skip
"""Functions of the value and the step's parameters."""

_IN_PLACE: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu_, "sigmoid": torch.sigmoid_, "tanh": torch.tanh_, "clamp": torch.clamp_,
    "leaky_relu": torch.nn.functional.leaky_relu_, "relu6": lambda x: F.relu6(x, inplace=True),
    "silu": lambda x: F.silu(x, inplace=True), "hardswish": lambda x: F.hardswish(x, inplace=True),
}  # fmt: skip
"""Those that networks are commonly written with in place."""

_BINARY: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
}  # fmt: skip
_BINARY_IN_PLACE: dict[str, Callable[..., Tensor]] = {
    "add": Tensor.add_, "sub": Tensor.sub_, "mul": Tensor.mul_, "div": Tensor.div_,
}  # fmt: skip


def step_function(step: Step, *, in_place: bool) -> StepFunction:
    """What computes a step; where `in_place`, it may write into the value that it is given."""
    op, parameters = step.op, step.parameters
    if op in _UNARY:
        function = _IN_PLACE.get(op, _UNARY[op]) if in_place else _UNARY[op]
        return lambda value, _: function(value, *parameters)
    match op:
        case "gelu_tanh":
            return lambda value, _: F.gelu(value, approximate="tanh")
        case "piecewise":
            piecewise = Piecewise.of(parameters)
            return lambda value, _: _piecewise(value, piecewise)
        case "cube":
            return lambda value, _: torch.pow(value, 3)
        case "maximum":
            return _extreme(torch.maximum, torch.clamp_min)
        case "minimum":
            return _extreme(torch.minimum, torch.clamp_max)
        case "prelu":
            return _prelu
        case "select":
            return lambda value, mask: torch.where(_tensor(mask) != 0, value, parameters[0])
    if not step.reverse:
        binary = (_BINARY_IN_PLACE if in_place else _BINARY)[op]
        return lambda value, operand: binary(value, operand)
    return _reversed(op)


def _reversed(op: str) -> StepFunction:
    """`op(operand, value)`."""
    match op:
        case "sub":
            return lambda value, operand: torch.rsub(value, _given(operand))
        case "div":
            return lambda value, operand: _given(operand) / value
    return lambda value, operand: _BINARY[op](value, operand)  # the others do not mind


def _extreme(
    of_tensors: Callable[[Tensor, Tensor], Tensor], of_number: Callable[[Tensor, float], Tensor]
) -> StepFunction:
    def run(value: Tensor, operand: Operand) -> Tensor:
        given = _given(operand)
        return of_tensors(value, given) if isinstance(given, Tensor) else of_number(value, given)

    return run


def _piecewise(value: Tensor, function: Piecewise) -> Tensor:
    """The value at the first knot, and each piece's share of the way there: no slopes cancel far away."""
    first, last, slopes = function.knots[0], function.knots[-1], function.slopes
    tails = torch.clamp_max(value, first) - first, torch.clamp_min(value, last) - last
    result = torch.clamp(value, first, first) * 0 + function(first)  # NaN stays
    for slope, (low, high) in zip(slopes[1:-1], pairwise(function.knots), strict=True):
        result += (torch.clamp(value, low, high) - low) * slope
    for slope, outside in zip((slopes[0], slopes[-1]), tails, strict=True):
        if slope:
            result += outside * slope
    return result


def _prelu(value: Tensor, slope: Operand) -> Tensor:
    return torch.where(value > 0, value, value * _given(slope))


def _tensor(operand: Operand) -> Tensor:
    assert isinstance(operand, Tensor)
    return operand


def _given(operand: Operand) -> Tensor | float:
    assert operand is not None
    return operand
