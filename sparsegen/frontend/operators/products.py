"""Matrix products: by a weight, which makes a linear layer, and of two values; attention."""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np
import torch

from sparsegen.frontend.builder import CallSite, Value, to_array
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.pointwise import binary, scaled
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Linear, MatMul, Shape, Softmax, Step


@operator("aten.linear.default")
def linear(site: CallSite, value: Value, weight: Value, bias: Value | None) -> str:
    matrix = site.weight(weight)
    if matrix.dim() != 2:
        site.refuse(f"its weight has shape {tuple(matrix.shape)}; two dimensions are supported")
    return _linear(site, value, matrix, None if bias is None else site.known(bias, "bias"))


def _linear(site: CallSite, value: Value, weight: torch.Tensor, bias: torch.Tensor | None) -> str:
    core = Linear(to_array(weight), None if bias is None else to_array(bias))
    return site.layer(core, value)


@operator("aten.bmm.default", "aten.matmul.default", "aten.mm.default")
def matmul(site: CallSite, left: Value, right: Value) -> Value:
    if isinstance(left, str) and _is_matrix(right):
        return _linear(site, left, right.t(), None)
    a, b = site.shape_of(left), site.shape_of(right)
    if len(a) > 1 and len(b) > 1:
        return site.layer(MatMul(), left, right)
    # A vector is a row on the left and a column on the right, and is none in the result.
    rows = reshape_to(site, left, (1, *a)) if len(a) == 1 else left
    columns = reshape_to(site, right, (*b, 1)) if len(b) == 1 else right
    product = site.layer(MatMul(), rows, columns, shape=_product_shape(site, rows, columns))
    return reshape_to(site, product, site.shape)


def _product_shape(site: CallSite, left: Value, right: Value) -> Shape:
    (*before, rows, _), (*others, _, columns) = site.shape_of(left), site.shape_of(right)
    return (*np.broadcast_shapes(before, others), rows, columns)


@operator("aten.addmm.default", "aten.baddbmm.default")
def add_product(
    site: CallSite, addend: Value, left: Value, right: Value, addend_scale: float, product_scale: float
) -> str:
    is_bias = isinstance(addend, torch.Tensor) and (addend.dim() < 2 or addend.shape[0] == 1)
    if isinstance(left, str) and _is_matrix(right) and is_bias:
        assert isinstance(addend, torch.Tensor)
        bias = (addend * addend_scale).expand(site.shape)[0]
        return _linear(site, left, right.t() * product_scale, bias)
    product = matmul(site, left, right)
    return binary(site, "add", scaled(site, product, product_scale), scaled(site, addend, addend_scale))


def _is_matrix(value: Value) -> TypeGuard[torch.Tensor]:
    """Whether a value is a known, finite matrix, which makes a product by it a linear layer."""
    return isinstance(value, torch.Tensor) and value.dim() == 2 and bool(torch.isfinite(value).all())


@operator("aten.scaled_dot_product_attention.default")
def attention(
    site: CallSite,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    dropout: float,
    causal: bool,
    scale: float | None,
    grouped: bool,
) -> Value:
    """softmax(scale * query key^T) value, the softmax over the keys."""
    found = [
        what
        for what, given in (
            ("an attention mask", mask is not None),
            (f"dropout of {dropout}", dropout != 0),
            ("a causal mask", causal),
            ("groups of heads that share a key (enable_gqa)", grouped),
        )
        if given
    ]
    if found:
        site.refuse(
            f"it has {' and '.join(found)}; attention of every query to every key, without dropout, is "
            "supported"
        )
    *_, depth = site.shape_of(query)
    step = Step("mul", operand=1 / math.sqrt(depth) if scale is None else float(scale))
    keys, tokens = site.shape_of(key)[-2], _product_shape(site, query, value)[:-1]
    scores = site.layer(MatMul(transpose_b=True), query, key, shape=(*tokens, keys), epilogue=(step,))
    weights = site.layer(Softmax(len(tokens)), scores, shape=(*tokens, keys))
    return site.layer(MatMul(), weights, value)
