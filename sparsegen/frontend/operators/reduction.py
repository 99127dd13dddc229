"""Operators over whole dimensions: mean and softmax."""

from __future__ import annotations

import torch

from sparsegen.frontend.builder import CallSite, Value
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Mean, Softmax


@operator("aten.mean.dim")
def mean(
    site: CallSite, value: Value, dims: list[int] | None, keepdim: bool, dtype: torch.dtype | None
) -> str:
    rank = len(site.shape_of(value))
    positive = sorted(dim % rank for dim in dims or range(rank))
    return site.layer(Mean(tuple(positive), keepdim), value)


@operator("aten.mean.default")
def mean_of_all(site: CallSite, value: Value, dtype: torch.dtype | None) -> str:
    return mean(site, value, None, False, dtype)


@operator("aten.softmax.int", "aten._softmax.default")
def softmax(site: CallSite, value: Value, dim: int, dtype: torch.dtype | bool | None) -> str:
    return site.layer(Softmax(dim % len(site.shape)), value)
