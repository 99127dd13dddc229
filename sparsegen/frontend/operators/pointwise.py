"""Activations and arithmetic: each a layer whose core is the identity and whose epilogue is the operator."""

from __future__ import annotations

import math

import torch

from sparsegen.frontend.builder import CallSite, Value
from sparsegen.frontend.operators.registry import Translator, operator
from sparsegen.graph import Identity, Shape, Step

Scalar = float | int | bool


def _register_unary(name: str, step: str) -> None:
    @operator(f"aten.{name}.default")
    def translate(site: CallSite, value: Value) -> str:
        return site.pointwise(value, Step(step))


for _name in (
    "relu",
    "relu6",
    "silu",
    "sigmoid",
    "tanh",
    "hardswish",
    "hardsigmoid",
    "exp",
    "sqrt",
    "neg",
    "abs",
):
    _register_unary(_name, _name)


@operator("aten.gelu.default")
def gelu(site: CallSite, value: Value, approximate: str) -> str:
    return site.pointwise(value, Step("gelu_tanh" if approximate == "tanh" else "gelu"))


@operator("aten.leaky_relu.default")
def leaky_relu(site: CallSite, value: Value, slope: Scalar) -> str:
    return site.pointwise(value, Step("leaky_relu", parameters=(float(slope),)))


@operator("aten.clamp.default", "aten.hardtanh.default")
def clamp(site: CallSite, value: Value, low: Scalar | None, high: Scalar | None) -> str:
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    if bounds == (0.0, math.inf):
        return site.pointwise(value, Step("relu"))
    if bounds == (0.0, 6.0):
        return site.pointwise(value, Step("relu6"))
    return site.pointwise(value, Step("clamp", parameters=bounds))


@operator("aten.clamp_min.default")
def clamp_min(site: CallSite, value: Value, low: Scalar) -> str:
    return clamp(site, value, low, None)


@operator("aten.clamp_max.default")
def clamp_max(site: CallSite, value: Value, high: Scalar) -> str:
    return clamp(site, value, None, high)


@operator("aten.reciprocal.default")
def reciprocal(site: CallSite, value: Value) -> str:
    return site.pointwise(value, Step("div", operand=1.0, reverse=True))


@operator("aten.square.default")
def square(site: CallSite, value: Value) -> str:
    return binary(site, "mul", value, value)


@operator("aten.pow.Tensor_Scalar")
def power(site: CallSite, value: Value, exponent: Scalar) -> str:
    if exponent == 2:
        return square(site, value)
    if exponent == 0.5:
        return site.pointwise(value, Step("sqrt"))
    site.refuse(f"its exponent is {exponent}; 2 and 0.5 are supported")


def binary(site: CallSite, op: str, left: Value | Scalar, right: Value | Scalar) -> str:
    """A layer that computes `op(left, right)`, broadcast; at least one side is a value of the graph."""
    if isinstance(left, str) and site.shape_of(left) == site.shape:
        return site.pointwise(left, Step(op, operand=_operand(site, right)))
    # The order of a sum's or product's sides is free: one form for both lets later passes look for one.
    reverse = op in ("sub", "div")
    if isinstance(right, str) and site.shape_of(right) == site.shape:
        return site.pointwise(right, Step(op, operand=_operand(site, left), reverse=reverse))
    # Neither side has the result's shape: one is expanded to it.
    if not isinstance(left, Scalar):
        return site.pointwise(broadcast(site, left, site.shape), Step(op, operand=_operand(site, right)))
    assert not isinstance(right, Scalar), "arithmetic on constants alone is evaluated before translation"
    return site.pointwise(broadcast(site, right, site.shape), Step(op, operand=float(left), reverse=reverse))


def _operand(site: CallSite, value: Value | Scalar) -> str | float:
    """A step's operand; a finite constant of one element becomes a number, which costs a kernel no load."""
    if isinstance(value, Scalar):
        return float(value)
    if isinstance(value, torch.Tensor) and value.numel() == 1 and math.isfinite(float(value)):
        return float(value)
    return site.read(value)


def broadcast(site: CallSite, value: Value, shape: Shape) -> Value:
    """`value` expanded to `shape`: itself where it has that shape, else added to -0.0 of that shape.

    Added to 0.0, a -0.0 would become 0.0.
    """
    if site.shape_of(value) == shape:
        return value
    step = Step("add", operand=_operand(site, value))
    zeros = torch.full(shape, -0.0, dtype=torch.float32, device="cpu")
    return site.layer(Identity(), zeros, shape=shape, epilogue=(step,))


@operator("aten.expand.default")
def expand(site: CallSite, value: Value, size: list[int], implicit: bool) -> Value:
    return value if site.broadcasts else broadcast(site, value, site.shape)


@operator("aten.expand_as.default")
def expand_as(site: CallSite, value: Value, other: Value) -> Value:
    return expand(site, value, [*site.shape], False)


def scaled(site: CallSite, value: Value | Scalar, alpha: Scalar) -> Value | Scalar:
    """`alpha * value`, the second side of an addition or subtraction."""
    if alpha == 1:
        return value
    if isinstance(value, str):
        return site.pointwise(value, Step("mul", operand=float(alpha)))
    return value * alpha


@operator("aten.add.Scalar", "aten.add.Tensor")
def add(site: CallSite, left: Value, right: Value | Scalar, alpha: Scalar) -> str:
    return binary(site, "add", left, scaled(site, right, alpha))


@operator("aten.sub.Scalar", "aten.sub.Tensor")
def subtract(site: CallSite, left: Value, right: Value | Scalar, alpha: Scalar) -> str:
    return binary(site, "sub", left, scaled(site, right, alpha))


@operator("aten.rsub.Scalar", "aten.rsub.Tensor")
def subtract_reversed(site: CallSite, left: Value, right: Value | Scalar, alpha: Scalar) -> str:
    return binary(site, "sub", right, scaled(site, left, alpha))


@operator("aten.mul.Scalar", "aten.mul.Tensor")
def multiply(site: CallSite, left: Value, right: Value | Scalar) -> str:
    return binary(site, "mul", left, right)


@operator("aten.div.Scalar", "aten.div.Tensor")
def divide(site: CallSite, left: Value, right: Value | Scalar) -> str:
    return binary(site, "div", left, right)


BROADCASTING: tuple[Translator, ...] = (add, subtract, subtract_reversed, multiply, divide)
"""Translators that broadcast their operands, so that an `expand` before them needs no layer."""
