"""Attention: two matrix products with a softmax between them, whose scores a mask may shift."""

from __future__ import annotations

import math

import torch

from sparsegen.frontend.builder import CallSite, NodeValue, smallest
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.products import product_shape
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import MatMul, Shape, Softmax, Step


@operator("aten.scaled_dot_product_attention.default")
def attention(
    site: CallSite,
    query: NodeValue,
    key: NodeValue,
    value: NodeValue,
    mask: NodeValue | None,
    dropout: float,
    causal: bool,
    scale: float | None,
    grouped: bool,
) -> NodeValue:
    """softmax(scale * query key^T + mask) value, the softmax over the keys; 0 where all keys are masked."""
    if dropout != 0:
        site.refuse(f"it has dropout of {dropout}; attention without dropout is supported")
    *_, tokens, depth = site.shape_of(query)
    keys = site.shape_of(key)[-2]
    if causal:
        mask = torch.ones(tokens, keys, dtype=torch.bool, device="cpu").tril()
    shared = site.shape_of(query)[-3] // site.shape_of(key)[-3] if grouped else 1
    if shared > 1:  # heads that share a key are more tokens of one head
        *before, heads, _, _ = site.shape_of(query)
        mask = _of_groups(site, mask, (*before, heads, tokens, keys), shared)
        query = reshape_to(site, query, (*before, heads // shared, shared * tokens, depth))
    steps = [Step("mul", operand=1 / math.sqrt(depth) if scale is None else float(scale))]
    shift = _shift(mask) if isinstance(mask, torch.Tensor) else mask
    if shift is not None:
        steps.append(Step("add", operand=site.read(shift, "mask")))
    rows = product_shape(site, query, value)[:-1]
    scores = site.layer(MatMul(transpose_b=True), query, key, shape=(*rows, keys), epilogue=tuple(steps))
    softmax = Softmax(len(rows), zero_if_masked=_may_mask_all(shift))
    weights = site.layer(softmax, scores, shape=(*rows, keys))
    product = site.layer(MatMul(), weights, value, shape=(*rows, site.shape_of(value)[-1]))
    return reshape_to(site, product, site.shape)


def _of_groups(site: CallSite, mask: NodeValue | None, scores: Shape, shared: int) -> NodeValue | None:
    """The mask of scores [..., heads, tokens, keys], its heads that share a key as more tokens of one."""
    if mask is None:
        return None
    if isinstance(mask, str):
        site.refuse(
            "it has a mask that the model computes, and groups of heads that share a key (enable_gqa)"
        )
    *before, heads, tokens, keys = scores
    return mask.expand(scores).reshape(*before, heads // shared, shared * tokens, keys)


def _shift(mask: torch.Tensor) -> torch.Tensor | None:
    """What a known mask adds to the scores, as small as broadcasting makes it; None for nothing."""
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device="cpu").masked_fill(~mask, -math.inf)
    return smallest(mask) if mask.count_nonzero() else None


def _may_mask_all(shift: NodeValue | None) -> bool:
    """Whether all keys of some token may be masked."""
    if isinstance(shift, torch.Tensor):
        return bool((shift == -math.inf).all(-1).any())
    return shift is not None


@operator("aten._safe_softmax.default")
def safe_softmax(site: CallSite, value: NodeValue, dim: int, dtype: torch.dtype | None) -> NodeValue:
    """Softmax that is 0 where all elements are negative infinity."""
    return site.layer(Softmax(dim % len(site.shape), zero_if_masked=True), value)
