"""Activations with parameters, and formulas of several operands."""

from __future__ import annotations

import torch

from sparsegen.frontend.builder import CallSite, NodeValue, smallest
from sparsegen.frontend.operators.arrangement import reshape_to, slice_of
from sparsegen.frontend.operators.pointwise import Scalar, binary, broadcast, leaky_relu, operand_of, scaled
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Step

_SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)  # alpha, scale


@operator("aten.elu.default")
def elu(site: CallSite, value: NodeValue, alpha: Scalar, scale: Scalar, input_scale: Scalar) -> str:
    return site.pointwise(value, Step("elu", parameters=(float(alpha), float(scale), float(input_scale))))


@operator("aten.selu.default")
def selu(site: CallSite, value: NodeValue) -> str:
    return elu(site, value, *_SELU, 1.0)


@operator("aten.celu.default")
def celu(site: CallSite, value: NodeValue, alpha: Scalar) -> str:
    return elu(site, value, alpha, 1.0, 1.0 / alpha)


@operator("aten.softplus.default")
def softplus(site: CallSite, value: NodeValue, beta: Scalar, threshold: Scalar) -> str:
    return site.pointwise(value, Step("softplus", parameters=(float(beta), float(threshold))))


@operator("aten.log_sigmoid.default")
def log_sigmoid(site: CallSite, value: NodeValue) -> str:
    return site.pointwise(value, Step("log_sigmoid"))


@operator("aten.log_sigmoid_forward.default")
def log_sigmoid_forward(site: CallSite, value: NodeValue) -> tuple[str, None]:
    return log_sigmoid(site, value), None


@operator("aten.hardshrink.default")
def hard_shrink(site: CallSite, value: NodeValue, bound: Scalar) -> str:
    return site.pointwise(value, Step("hardshrink", parameters=(float(bound),)))


@operator("aten.softshrink.default")
def soft_shrink(site: CallSite, value: NodeValue, bound: Scalar) -> str:
    return site.pointwise(value, Step("softshrink", parameters=(float(bound),)))


@operator("aten.threshold.default")
def threshold(site: CallSite, value: NodeValue, bound: Scalar, other: Scalar) -> str:
    return site.pointwise(value, Step("threshold", parameters=(float(bound), float(other))))


@operator("aten.prelu.default")
def prelu(site: CallSite, value: NodeValue, weight: NodeValue) -> str:
    """The weight is one slope, or one a channel, which is dimension 1."""
    shape = site.shape_of(weight)
    if site.shape_of(value)[1:]:
        weight = reshape_to(site, weight, (*shape, *(1,) * (len(site.shape) - 2)))
    return site.pointwise(value, Step("prelu", operand=operand_of(site, weight)))


@operator("aten.rrelu.default")
def random_relu(
    site: CallSite, value: NodeValue, lower: Scalar, upper: Scalar, training: bool, generator: object
) -> str:
    """A leaky ReLU whose slope is, in evaluation mode, the mean of those that training draws from."""
    return leaky_relu(site, value, (lower + upper) / 2)


@operator("aten.glu.default")
def gated(site: CallSite, value: NodeValue, dim: int) -> NodeValue:
    """The first half along a dimension, times the sigmoid of the second."""
    dim %= len(site.shape)
    extent = site.shape[dim]
    first, second = (slice_of(site, value, dim, start, extent) for start in (0, extent))
    return binary(site, "mul", first, site.pointwise(second, Step("sigmoid")))


@operator("aten.clamp.Tensor")
def clamp_by_tensors(
    site: CallSite, value: NodeValue, low: NodeValue | None, high: NodeValue | None
) -> NodeValue:
    bounded = value if low is None else binary(site, "maximum", value, low)
    return bounded if high is None else binary(site, "minimum", bounded, high)


@operator("aten.clamp_min.Tensor")
def clamp_min_by_tensor(site: CallSite, value: NodeValue, low: NodeValue) -> NodeValue:
    return clamp_by_tensors(site, value, low, None)


@operator("aten.clamp_max.Tensor")
def clamp_max_by_tensor(site: CallSite, value: NodeValue, high: NodeValue) -> NodeValue:
    return clamp_by_tensors(site, value, None, high)


@operator("aten.addcmul.default")
def add_scaled_product(
    site: CallSite, value: NodeValue, left: NodeValue, right: NodeValue, scale: Scalar
) -> NodeValue:
    return binary(site, "add", value, _product(site, "mul", left, right, scale))


@operator("aten.addcdiv.default")
def add_scaled_quotient(
    site: CallSite, value: NodeValue, left: NodeValue, right: NodeValue, scale: Scalar
) -> NodeValue:
    return binary(site, "add", value, _product(site, "div", left, right, scale))


def _product(site: CallSite, op: str, left: NodeValue, right: NodeValue, scale: Scalar) -> NodeValue:
    """The product or quotient of `scale * left` and `right`."""
    first = scaled(site, left, scale)
    if isinstance(first, torch.Tensor) and isinstance(right, torch.Tensor):
        return first * right if op == "mul" else first / right
    return binary(site, op, first, right)


@operator("aten.lerp.Scalar")
def interpolate(site: CallSite, start: NodeValue, end: NodeValue, weight: Scalar) -> NodeValue:
    """The sum of `start` and `weight * (end - start)`, computed from the nearer of the two."""
    difference = binary(site, "sub", end, start)
    if weight < 0.5:
        return binary(site, "add", start, scaled(site, difference, weight))
    return binary(site, "sub", end, scaled(site, difference, 1 - weight))


@operator("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(
    site: CallSite, condition: NodeValue, left: NodeValue | Scalar, right: NodeValue | Scalar
) -> NodeValue:
    """`left` where a known condition holds, `right` elsewhere."""
    mask = site.known(condition, "condition")
    if mask.all():
        return _whole(site, left)
    if not mask.any():
        return _whole(site, right)
    if not isinstance(left, str):  # the value that is kept comes first
        mask, left, right = ~mask, right, left
    number = _number(right)
    if number is not None:
        return _selected(site, left, mask, number)
    # Added to -0.0, every number stays as it is.
    rest = torch.where(mask, -0.0, right) if isinstance(right, torch.Tensor) else right
    other = _selected(site, rest, ~mask, -0.0) if isinstance(rest, str) else rest
    return binary(site, "add", _selected(site, left, mask, -0.0), other)


@operator("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(site: CallSite, value: NodeValue, mask: NodeValue, fill: NodeValue | Scalar) -> NodeValue:
    """`fill` where a known mask holds, the value elsewhere."""
    return where(site, ~site.known(mask, "mask"), value, fill)


def _selected(site: CallSite, value: NodeValue | Scalar, mask: torch.Tensor, other: float) -> NodeValue:
    assert isinstance(value, str), "a selection of constants alone is evaluated before translation"
    step = Step("select", operand=site.read(smallest(mask.float()), "mask"), parameters=(other,))
    return site.pointwise(broadcast(site, value, site.shape), step)


def _number(value: NodeValue | Scalar) -> float | None:
    """The number that a scalar, or a tensor of one element, is."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    return None if isinstance(value, str | torch.Tensor) else float(value)


def _whole(site: CallSite, value: NodeValue | Scalar) -> NodeValue:
    if isinstance(value, str):
        return broadcast(site, value, site.shape)
    return torch.as_tensor(value, dtype=torch.float32, device="cpu").expand(site.shape).contiguous()
