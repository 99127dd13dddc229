"""Operators over whole dimensions: mean, softmax and layer norm; `reductions` has the others."""

from __future__ import annotations

import torch

from sparsegen.frontend.builder import CallSite, Value
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import LayerNorm, Mean, Softmax, Step


@operator("aten.mean.dim")
def mean(
    site: CallSite, value: Value, dims: list[int] | None, keepdim: bool, dtype: torch.dtype | None
) -> Value:
    rank = len(site.shape_of(value))
    if rank == 0:
        return value
    positive = sorted(dim % rank for dim in dims or range(rank))
    return site.layer(Mean(tuple(positive), keepdim), value)


@operator("aten.mean.default")
def mean_of_all(site: CallSite, value: Value, dtype: torch.dtype | None) -> Value:
    return mean(site, value, None, False, dtype)


@operator("aten.softmax.int", "aten._softmax.default")
def softmax(site: CallSite, value: Value, dim: int, dtype: torch.dtype | bool | None) -> Value:
    if not site.shape:  # a number: as a vector of one
        vector = reshape_to(site, value, (1,))
        return reshape_to(site, site.layer(Softmax(0), vector, shape=(1,)), ())
    return site.layer(Softmax(dim % len(site.shape)), value)


@operator("aten.layer_norm.default")
def layer_norm(
    site: CallSite,
    value: Value,
    sizes: list[int],
    weight: Value | None,
    bias: Value | None,
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
    site: CallSite, value: Value, sizes: list[int], weight: Value | None, bias: Value | None, epsilon: float
) -> tuple[str, None, None]:
    return layer_norm(site, value, sizes, weight, bias, epsilon), None, None
