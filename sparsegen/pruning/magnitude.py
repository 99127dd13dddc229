"""Magnitude pruning, layer by layer: the smallest weights, or vectors of weights, become zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from sparsegen.errors import SparsegenError
from sparsegen.pruning.masks import Choice, PrunedLayer, set_masks
from sparsegen.pruning.prunable import Model, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_not_undone, check_sparsity, keep_largest

Structure = Literal["unstructured", "vector"]

VECTOR = 4
"""Output channels of one vector: they share the (ic, kh, kw) that they keep."""


def magnitude(
    model: Model,
    *,
    sparsity: float,
    structure: Structure = "unstructured",
    skip: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Prune the convolutions of `model` in place, each to the same sparsity; return their names.

    Best for comparing speed, and for models that are fine-tuned afterwards; a layer that needs all
    of its weights loses as many as one that does not.

    `unstructured` zeroes the round(sparsity * n) weights of the smallest magnitude of the n in a
    layer. `vector` does the same with vectors of 4 consecutive output channels at one (ic, kh, kw),
    by their mean magnitude, which is the L1 norm made fair to a last vector of fewer than 4. Of
    equal ones those with the lower index go first. `skip` holds the names, or shell patterns of
    names, of the layers that stay dense; None stands for the first convolution and the
    classifier. Linear layers and depthwise convolutions always stay dense.

    Raises SparsegenError for a sparsity outside [0, 1), an unknown structure, and a model without
    a convolution to prune.
    """
    check_options(sparsity=sparsity, structure=structure)
    layers = prunable_layers(model, skip=skip)
    prune = _prune_vectors if structure == "vector" else _prune_weights
    with torch.no_grad():
        for layer in layers:
            prune(layer.parameter, sparsity)
    return tuple(layer.name for layer in layers)


def check_options(*, sparsity: float, structure: str) -> None:
    """Raise SparsegenError unless `sparsity` is in [0, 1) and `structure` is a known one."""
    if not 0 <= sparsity < 1:
        raise SparsegenError(f"sparsity is {sparsity}: give a share of weights to remove, 0 <= sparsity < 1")
    if structure not in get_args(Structure):
        raise SparsegenError(f"structure is {structure!r}: choose one of {', '.join(get_args(Structure))}")


def _prune_weights(weight: Tensor, sparsity: float) -> None:
    weight[_smallest(weight.abs(), sparsity)] = 0


def _prune_vectors(weight: Tensor, sparsity: float) -> None:
    vectors = torch.stack([rows.abs().mean(dim=0) for rows in torch.split(weight, VECTOR)])
    dropped = _smallest(vectors, sparsity)
    weight[dropped.repeat_interleave(VECTOR, dim=0)[: len(weight)]] = 0


def _smallest(scores: Tensor, sparsity: float) -> Tensor:
    """Boolean tensor of the shape of `scores`, true at the round(sparsity * n) smallest of its n."""
    count = round(sparsity * scores.numel())
    order = torch.sort(scores.flatten(), stable=True).indices
    dropped = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    dropped[order[:count]] = True
    return dropped.reshape(scores.shape)


@register("magnitude", scope="layer")
def smallest(
    model: Model,
    *,
    sparsity: float,
    scope: str = "layer",
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """What `magnitude` becomes once its callers name structures."""
    check_sparsity(sparsity)
    layers = prunable_layers(model, skip=skip, linear=linear)
    choices = [Choice(layer, keep_largest(layer.weight.abs(), sparsity)) for layer in layers]
    check_not_undone(choices)
    return set_masks(choices)
