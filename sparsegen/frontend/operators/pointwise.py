"""Activations and arithmetic: each a layer whose core is the identity and whose epilogue is the operator."""

from __future__ import annotations

import math

import torch

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.registry import Translator, operator
from sparsegen.graph import Identity, Shape, Step

Scalar = float | int | bool

_INVERSE = Step("div", operand=1.0, reverse=True)


def _register_unary(name: str, step: str) -> None:
    @operator(f"aten.{name}.default")
    def translate(site: CallSite, value: NodeValue) -> str:
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
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "square",
    "erf",
    "sin",
    "cos",
    "floor",
    "ceil",
    "trunc",
    "round",
    "sign",
    "mish",
):
    _register_unary(_name, _name)


@operator("aten.gelu.default")
def gelu(site: CallSite, value: NodeValue, approximate: str) -> str:
    return site.pointwise(value, Step("gelu_tanh" if approximate == "tanh" else "gelu"))


@operator("aten.leaky_relu.default")
def leaky_relu(site: CallSite, value: NodeValue, slope: Scalar) -> str:
    return site.pointwise(value, Step("leaky_relu", parameters=(float(slope),)))


@operator("aten.clamp.default", "aten.hardtanh.default")
def clamp(site: CallSite, value: NodeValue, low: Scalar | None, high: Scalar | None) -> str:
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    if bounds == (0.0, math.inf):
        return site.pointwise(value, Step("relu"))
    if bounds == (0.0, 6.0):
        return site.pointwise(value, Step("relu6"))
    return site.pointwise(value, Step("clamp", parameters=bounds))


@operator("aten.clamp_min.default")
def clamp_min(site: CallSite, value: NodeValue, low: Scalar) -> str:
    return clamp(site, value, low, None)


@operator("aten.clamp_max.default")
def clamp_max(site: CallSite, value: NodeValue, high: Scalar) -> str:
    return clamp(site, value, None, high)


@operator("aten.reciprocal.default")
def reciprocal(site: CallSite, value: NodeValue) -> str:
    return site.pointwise(value, _INVERSE)


@operator("aten.rsqrt.default")
def reciprocal_root(site: CallSite, value: NodeValue) -> str:
    return site.pointwise(value, Step("sqrt"), _INVERSE)


_EXACT_POWERS: dict[float, tuple[Step, ...]] = {
    -2.0: (Step("square"), _INVERSE),
    -1.0: (_INVERSE,),
    -0.5: (Step("sqrt"), _INVERSE),
    0.5: (Step("sqrt"),),
    2.0: (Step("square"),),
    3.0: (Step("cube"),),
}
"""Powers that torch computes otherwise than as powers."""


@operator("aten.pow.Tensor_Scalar")
def power(site: CallSite, value: NodeValue, exponent: Scalar) -> NodeValue:
    if exponent == 0:  # 1 of every number, NaN too
        return torch.ones(site.shape, dtype=torch.float32, device="cpu")
    if exponent == 1:
        return value
    if not math.isfinite(exponent):
        site.refuse(f"its exponent is {exponent}; finite ones are supported")
    steps = _EXACT_POWERS.get(float(exponent), (Step("pow", parameters=(float(exponent),)),))
    return site.pointwise(value, *steps)


@operator("aten.pow.Tensor_Tensor")
def power_of_tensors(site: CallSite, value: NodeValue, exponent: NodeValue) -> NodeValue:
    known = site.known(exponent, "exponent")
    if known.numel() != 1 or not isinstance(value, str):
        site.refuse(f"its exponent has shape {tuple(known.shape)}; one number is supported")
    return power(site, broadcast(site, value, site.shape), float(known))


def binary(site: CallSite, op: str, left: NodeValue | Scalar, right: NodeValue | Scalar) -> str:
    """A layer that computes `op(left, right)`, broadcast; at least one side is a value of the graph."""
    if isinstance(left, str) and site.shape_of(left) == site.shape:
        return site.pointwise(left, Step(op, operand=operand_of(site, right)))
    # The order of a sum's or product's sides is free: one form for both lets later passes look for one.
    reverse = op not in ("add", "mul")
    if isinstance(right, str) and site.shape_of(right) == site.shape:
        return site.pointwise(right, Step(op, operand=operand_of(site, left), reverse=reverse))
    # Neither side has the result's shape: one is expanded to it.
    if not isinstance(left, Scalar):
        return site.pointwise(broadcast(site, left, site.shape), Step(op, operand=operand_of(site, right)))
    assert not isinstance(right, Scalar), "arithmetic on constants alone is evaluated before translation"
    return site.pointwise(broadcast(site, right, site.shape), Step(op, operand=float(left), reverse=reverse))


def operand_of(site: CallSite, value: NodeValue | Scalar) -> str | float:
    """A step's operand; a finite constant of one element becomes a number, which costs a kernel no load."""
    if isinstance(value, Scalar):
        return float(value)
    if isinstance(value, torch.Tensor) and value.numel() == 1 and math.isfinite(float(value)):
        return float(value)
    return site.read(value)


def broadcast(site: CallSite, value: NodeValue, shape: Shape) -> NodeValue:
    """`value` expanded to `shape`: itself where it has that shape, else added to -0.0 of that shape.

    Added to 0.0, a -0.0 would become 0.0.
    """
    if site.shape_of(value) == shape:
        return value
    step = Step("add", operand=operand_of(site, value))
    zeros = torch.full(shape, -0.0, dtype=torch.float32, device="cpu")
    return site.layer(Identity(), zeros, shape=shape, epilogue=(step,))


@operator("aten.expand.default", "aten.expand_as.default")
def expand(site: CallSite, value: NodeValue, *options: object) -> NodeValue:
    return value if site.broadcasts else broadcast(site, value, site.shape)


def scaled(site: CallSite, value: NodeValue | Scalar, alpha: Scalar) -> NodeValue | Scalar:
    """`alpha * value`, the second side of an addition or subtraction."""
    if alpha == 1:
        return value
    if isinstance(value, str):
        return site.pointwise(value, Step("mul", operand=float(alpha)))
    return value * alpha


@operator("aten.add.Scalar", "aten.add.Tensor")
def add(site: CallSite, left: NodeValue, right: NodeValue | Scalar, alpha: Scalar) -> str:
    return binary(site, "add", left, scaled(site, right, alpha))


@operator("aten.sub.Scalar", "aten.sub.Tensor")
def subtract(site: CallSite, left: NodeValue, right: NodeValue | Scalar, alpha: Scalar) -> str:
    return binary(site, "sub", left, scaled(site, right, alpha))


@operator("aten.rsub.Scalar", "aten.rsub.Tensor")
def subtract_reversed(site: CallSite, left: NodeValue, right: NodeValue | Scalar, alpha: Scalar) -> str:
    return binary(site, "sub", right, scaled(site, left, alpha))


@operator("aten.mul.Scalar", "aten.mul.Tensor")
def multiply(site: CallSite, left: NodeValue, right: NodeValue | Scalar) -> str:
    return binary(site, "mul", left, right)


@operator("aten.div.Scalar", "aten.div.Tensor")
def divide(site: CallSite, left: NodeValue, right: NodeValue | Scalar) -> str:
    return binary(site, "div", left, right)


@operator("aten.maximum.default", "aten.max.other")
def maximum(site: CallSite, left: NodeValue, right: NodeValue) -> str:
    return binary(site, "maximum", left, right)


@operator("aten.minimum.default", "aten.min.other")
def minimum(site: CallSite, left: NodeValue, right: NodeValue) -> str:
    return binary(site, "minimum", left, right)


BROADCASTING: tuple[Translator, ...] = (
    add, subtract, subtract_reversed, multiply, divide, maximum, minimum,
)  # fmt: skip
"""Translators that broadcast their operands, so that an `expand` before them needs no layer."""
