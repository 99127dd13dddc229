"""Layer, group, instance, RMS and local response norm, by a value's own statistics; norms of vectors."""

from __future__ import annotations

from math import prod

import torch

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.convolution import batch_norm
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import GroupNorm, LayerNorm, LocalResponseNorm, Step


@operator("aten.layer_norm.default")
def layer_norm(
    site: CallSite,
    value: NodeValue,
    sizes: list[int],
    weight: NodeValue | None,
    bias: NodeValue | None,
    epsilon: float,
    *options: object,
) -> str:
    """A normalisation, and a multiplication and an addition by element of what is normalised."""
    rank = len(site.shape)
    steps = [
        Step(op, operand=site.read(operand, role))
        for op, operand, role in (("mul", weight, "weight"), ("add", bias, "bias"))
        if operand is not None
    ]
    core = LayerNorm(tuple(range(rank - len(sizes), rank)), epsilon)
    return site.layer(core, value, epilogue=tuple(steps))


@operator("aten.native_layer_norm.default")
def native_layer_norm(
    site: CallSite,
    value: NodeValue,
    sizes: list[int],
    weight: NodeValue | None,
    bias: NodeValue | None,
    epsilon: float,
) -> tuple[str, None, None]:
    return layer_norm(site, value, sizes, weight, bias, epsilon), None, None


@operator("aten.group_norm.default")
def group_norm(
    site: CallSite,
    value: NodeValue,
    groups: int,
    weight: NodeValue | None,
    bias: NodeValue | None,
    epsilon: float,
    *options: object,
) -> NodeValue:
    """A normalisation, and a multiplication and an addition by channel."""
    batch, channels, *rest = site.shape_of(value)
    images = (batch, channels, *((prod(rest[:-1]), rest[-1]) if rest else (1, 1)))
    steps = [
        Step(op, operand=site.read(site.known(operand, role).reshape(-1, 1, 1), role))
        for op, operand, role in (("mul", weight, "weight"), ("add", bias, "bias"))
        if operand is not None
    ]
    source = reshape_to(site, value, images)
    norm = site.layer(GroupNorm(groups, epsilon), source, shape=images, epilogue=tuple(steps))
    return reshape_to(site, norm, site.shape)


@operator("aten.native_group_norm.default")
def native_group_norm(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue | None,
    bias: NodeValue | None,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    epsilon: float,
) -> tuple[NodeValue, None, None]:
    return group_norm(site, value, groups, weight, bias, epsilon), None, None


@operator("aten.instance_norm.default")
def instance_norm(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue | None,
    bias: NodeValue | None,
    mean: NodeValue,
    variance: NodeValue,
    by_input: bool,
    momentum: float,
    epsilon: float,
    *options: object,
) -> NodeValue:
    """Each channel by its own statistics, or by those that training tracked."""
    if by_input:
        return group_norm(site, value, site.shape[1], weight, bias, epsilon)
    return batch_norm(site, value, weight, bias, mean, variance, momentum, epsilon)[0]


@operator("aten.rms_norm.default")
def rms_norm(
    site: CallSite, value: NodeValue, sizes: list[int], weight: NodeValue | None, epsilon: float | None
) -> NodeValue:
    rank = len(site.shape)
    dims = tuple(range(rank - len(sizes), rank))
    core = LayerNorm(dims, torch.finfo(torch.float32).eps if epsilon is None else epsilon, centred=False)
    steps = () if weight is None else (Step("mul", operand=site.read(weight, "weight")),)
    return site.layer(core, value, epilogue=steps)


@operator("aten._fused_rms_norm.default")
def fused_rms_norm(
    site: CallSite, value: NodeValue, sizes: list[int], weight: NodeValue | None, epsilon: float | None
) -> tuple[NodeValue, None]:
    return rms_norm(site, value, sizes, weight, epsilon), None


@operator("sparsegen.local_response_norm.default")
def local_response_norm(
    site: CallSite, value: NodeValue, size: int, alpha: float, beta: float, bias: float
) -> NodeValue:
    return site.layer(LocalResponseNorm(size, alpha, beta, bias), value)
