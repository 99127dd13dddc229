"""Matrix products: by a weight, which makes a linear layer, and of two values."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import torch

from sparsegen.frontend.builder import CallSite, NodeValue, to_array
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.pointwise import binary, scaled
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Linear, MatMul, Shape


@operator("aten.linear.default")
def linear(site: CallSite, value: NodeValue, weight: NodeValue, bias: NodeValue | None) -> str:
    matrix = site.weight(weight)
    if matrix.dim() != 2:
        site.refuse(f"its weight has shape {tuple(matrix.shape)}; two dimensions are supported")
    return _linear(site, value, matrix, None if bias is None else site.known(bias, "bias"))


def _linear(site: CallSite, value: NodeValue, weight: torch.Tensor, bias: torch.Tensor | None) -> str:
    core = Linear(to_array(weight), None if bias is None else to_array(bias))
    return site.layer(core, value)


@operator("aten.bmm.default", "aten.matmul.default", "aten.mm.default")
def matmul(site: CallSite, left: NodeValue, right: NodeValue) -> NodeValue:
    if isinstance(left, str) and _is_matrix(right):
        return _linear(site, left, right.t(), None)
    a, b = site.shape_of(left), site.shape_of(right)
    if len(a) > 1 and len(b) > 1:
        return site.layer(MatMul(), left, right)
    # A vector is a row on the left and a column on the right, and is none in the result.
    rows = reshape_to(site, left, (1, *a)) if len(a) == 1 else left
    columns = reshape_to(site, right, (*b, 1)) if len(b) == 1 else right
    product = site.layer(MatMul(), rows, columns, shape=product_shape(site, rows, columns))
    return reshape_to(site, product, site.shape)


def product_shape(site: CallSite, left: NodeValue, right: NodeValue) -> Shape:
    """Shape of the matrix product of two values of two dimensions or more."""
    (*before, rows, _), (*others, _, columns) = site.shape_of(left), site.shape_of(right)
    return (*np.broadcast_shapes(before, others), rows, columns)


@operator("aten.addmm.default", "aten.baddbmm.default")
def add_product(
    site: CallSite,
    addend: NodeValue,
    left: NodeValue,
    right: NodeValue,
    addend_scale: float,
    product_scale: float,
) -> str:
    is_bias = isinstance(addend, torch.Tensor) and (addend.dim() < 2 or addend.shape[0] == 1)
    if isinstance(left, str) and _is_matrix(right) and is_bias:
        assert isinstance(addend, torch.Tensor)
        bias = (addend * addend_scale).expand(site.shape)[0]
        return _linear(site, left, right.t() * product_scale, bias)
    product = matmul(site, left, right)
    return binary(site, "add", scaled(site, product, product_scale), scaled(site, addend, addend_scale))


def _is_matrix(value: NodeValue) -> TypeGuard[torch.Tensor]:
    """Whether a value is a known, finite matrix, which makes a product by it a linear layer."""
    return isinstance(value, torch.Tensor) and value.dim() == 2 and bool(torch.isfinite(value).all())
