"""Matrix products by linear layers and convolutions where one side is constant; else by products and sums."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import Array, Linear, MatMul, Permute, Reduce, Shape
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import along, check_parts, joined, sliced
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped

_MOST_PRODUCTS = 1 << 22
"""Of a matrix product that is written out: in int8 they fill half of an EdgeTPU's 8 MiB of memory."""


@rule("product by a constant matrix by linear", "matmul")
def product_by_linear(site: Site, draft: Draft) -> str:
    """The constant as weight."""
    core, (first, second) = _matmul(site), site.layer.inputs
    if second not in site.constants or first in site.constants:
        raise RefusalError("its second factor is no constant, or both are")
    weight = _matrix(site.constants[second], core.transpose_b)
    if core.transpose_a:
        raise RefusalError("its first factor is transposed")
    linear = Linear(np.ascontiguousarray(weight.T), None)
    made = draft.add(linear, first, (*site.shapes[first][:-1], site.shape[-1]))
    return reshaped(draft, made, site.shape)


@rule("product of a constant matrix by convolution", "matmul")
def product_by_convolution(site: Site, draft: Draft) -> str:
    """Rows of the other factor as channels."""
    core, (first, second) = _matmul(site), site.layer.inputs
    if first in site.constants and second not in site.constants:
        if core.transpose_b:
            raise RefusalError("its second factor is transposed")
        weight = _matrix(site.constants[first], core.transpose_a)
        made = along(draft, second, len(site.shapes[second]) - 2, np.ascontiguousarray(weight))
        return reshaped(draft, made, site.shape)
    raise RefusalError("its first factor is no constant, or both are")


@rule("matrix products one by one", "matmul")
def products_one_by_one(site: Site, draft: Draft) -> str:
    """A product for each matrix of a batch."""
    first, second = site.layer.inputs
    batch = site.shape[:-2]
    count = math.prod(batch)
    if count == 1:
        raise RefusalError("it is one product")
    check_parts(count, "products")
    if any(site.shapes[value][:-2] != batch for value in (first, second)):
        raise RefusalError("its batches are not of one shape")
    sides = [reshaped(draft, value, (count, *site.shapes[value][-2:])) for value in (first, second)]
    parts = list[str]()
    for at in range(count):
        pair = [reshaped(draft, sliced(draft, side, 0, at, 1), draft.shape(side)[1:]) for side in sides]
        made = draft.add(site.core, pair, site.shape[-2:])
        parts.append(reshaped(draft, made, (1, *site.shape[-2:])))
    return reshaped(draft, joined(draft, parts, 0), site.shape)


@rule("matrix product by products and sums", "matmul")
def product_by_sums(site: Site, draft: Draft) -> str:
    """Each row's elements times each column's, broadcast, then summed."""
    core, (first, second) = _matmul(site), site.layer.inputs
    rows, columns = site.shape[-2:]
    inner = site.shapes[first][-2 if core.transpose_a else -1]
    count = math.prod(site.shape) * inner
    if count > _MOST_PRODUCTS:
        raise RefusalError(f"it would take {count:,} products, and {_MOST_PRODUCTS:,} are the most")
    if core.transpose_a and core.transpose_b:
        turned = (*site.shape[:-2], columns, rows)
        made = draft.add(MatMul(), (second, first), turned)
        last = len(turned)
        return draft.add(Permute((*range(last - 2), last - 1, last - 2)), made, site.shape)
    if core.transpose_a:
        shapes, dim = ((inner, rows, 1), (inner, 1, columns)), -3
    elif core.transpose_b:
        shapes, dim = ((rows, 1, inner), (1, columns, inner)), -1
    else:
        shapes, dim = ((rows, inner, 1), (1, inner, columns)), -2
    sides = [
        reshaped(draft, value, (*_batch(site, value), *shape))
        for value, shape in zip((first, second), shapes, strict=True)
    ]
    products = draft.step(sides[0], "mul", sides[1])
    whole = draft.shape(products)
    return draft.add(Reduce("sum", (len(whole) + dim,), False), products, site.shape)


def _batch(site: Site, value: str) -> Shape:
    return site.shapes[value][:-2]


def _matrix(constant: Array, turned: bool) -> Array:
    if math.prod(constant.shape[:-2]) != 1:
        raise RefusalError("its constant has several matrices")
    matrix = constant.reshape(constant.shape[-2:])
    return matrix.T if turned else matrix


def _matmul(site: Site) -> MatMul:
    assert isinstance(site.core, MatMul)
    return site.core
