"""Attention with masks, known and given, in both layouts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph, Softmax
from tests.agreement import check_agreement
from tests.frontend.checking import Function, describe, images
from tests.kernels.test_operator_agreement import BATCHES
from tests.sampling import large

TOKENS, KEYS = 5, 9
Attention = Callable[..., Tensor]


def shifts(*shape: int) -> Tensor:
    """Normal numbers, of which some are negative infinity: all of the third token's."""
    mask = images(*shape, seed=1)
    mask[mask > 0.8] = -math.inf
    mask[..., 2, :] = -math.inf
    return mask


def allowed(*shape: int) -> Tensor:
    return images(*shape, seed=2) > -0.5


def attention(mask: Tensor | None = None, **options: object) -> Attention:
    """Of tokens to the keys of the second input, by a known mask."""

    def function(queries: Tensor, keys: Tensor, *rest: Tensor) -> Tensor:
        known = mask.to(queries.dtype) if mask is not None and mask.is_floating_point() else mask
        return F.scaled_dot_product_attention(queries, keys, keys.relu(), known, **options)

    return function


def given_mask(queries: Tensor, keys: Tensor, by_head: Tensor, by_key: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, keys, keys, by_head)


def given_mask_by_key(queries: Tensor, keys: Tensor, by_head: Tensor, by_key: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, keys, keys, by_key.expand(-1, 4, TOKENS, KEYS))


def shared_keys(mask: Tensor | None = None, **options: object) -> Attention:
    """The four heads of the first input share two keys."""
    function = attention(mask, enable_gqa=True, **options)
    return lambda queries, keys, *rest: function(queries, keys[:, :2])


FUNCTIONS: dict[str, Attention] = {
    "causal": attention(is_causal=True),
    "scaled": attention(is_causal=True, scale=0.25),
    "all true": attention(torch.ones(TOKENS, KEYS, dtype=torch.bool)),
    "bool": attention(allowed(TOKENS, KEYS)),
    "bool by head": attention(allowed(1, 4, TOKENS, KEYS)),
    "bool of one row": attention(allowed(1, 1, 1, KEYS).expand(1, 1, TOKENS, KEYS)),
    "all keys masked": attention(shifts(TOKENS, KEYS)),
    "given": given_mask,
    "given by key": given_mask_by_key,
    "shared keys": shared_keys(),
    "shared keys, causal": shared_keys(is_causal=True),
    "shared keys, all keys masked": shared_keys(shifts(4, TOKENS, KEYS)),
}


@large(("lanes", "number"), itertools.product(BATCHES, (0, 1)), sample=2)
def test_masked_attention_agrees(lanes: str, number: int) -> None:
    batch, threads = BATCHES[lanes][number]
    queries, keys = images(batch, 4, TOKENS, 6), images(batch, 4, KEYS, 6, seed=3)
    masks = shifts(batch, 4, TOKENS, KEYS), images(batch, 1, 1, KEYS, seed=4)
    check_agreement(FUNCTIONS, (queries, keys, *masks), threads=threads, target="haswell")


def test_a_mask_by_image_agrees() -> None:
    mask = shifts(3, 1, TOKENS, KEYS)
    inputs = images(3, 4, TOKENS, 6), images(3, 4, KEYS, 6, seed=3)
    check_agreement({"by image": attention(mask), "three dimensions": of_one_image}, inputs)


def of_one_image(queries: Tensor, keys: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries[0], keys[0], keys[0], is_causal=True)


def graph_of(function: Attention) -> LayerGraph:
    return from_torch(Function(function), (images(2, 4, TOKENS, 6), images(2, 4, KEYS, 6)))


def test_a_mask_that_masks_nothing_costs_nothing() -> None:
    graph = graph_of(attention(torch.ones(2, 1, TOKENS, KEYS, dtype=torch.bool)))
    assert describe(graph) == ["Identity relu", "MatMul mul", "Softmax", "MatMul"]


def test_a_known_mask_is_stored_as_small_as_it_can_be() -> None:
    graph = graph_of(attention(allowed(KEYS).expand(2, 4, TOKENS, KEYS)))
    assert describe(graph) == ["Identity relu", "MatMul mul add", "Softmax", "MatMul"]
    assert [array.shape for array in graph.constants.values()] == [(1, 1, 1, KEYS)]


@pytest.mark.parametrize(("mask", "expected"), [(allowed(TOKENS, KEYS), False), (shifts(TOKENS, KEYS), True)])
def test_only_masks_of_all_keys_need_their_own_softmax(mask: Tensor, expected: bool) -> None:
    (softmax,) = (layer.core for layer in graph_of(attention(mask)).layers if isinstance(layer.core, Softmax))
    assert softmax.zero_if_masked == expected
