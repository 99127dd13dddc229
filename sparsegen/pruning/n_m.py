"""N:M pruning: of every M consecutive input channels, the N largest weights stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsegen.errors import PruningError
from sparsegen.pruning.masks import Choice, PrunedLayer, set_masks
from sparsegen.pruning.prunable import Model, WeightLayer, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_not_undone, check_rows, clamped


@register("N:M", alias="n_m")
def n_m(
    model: Model,
    *,
    n: int,
    m: int,
    rows: int = 1,
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place to N weights of every M consecutive input channels.

    Best for hardware that skips by fixed counts, and where every filter has to keep its share of weights:
    no row can become empty. Not for sparsities other than 1 - N/M, nor for layers whose size differs
    in how much it matters: every layer loses the same share (`budget` gives each its own ratio).

    The N of the largest magnitude stay, of those M weights that share an output channel and (kh, kw);
    of equal ones those with the higher channel. With `rows`, that many consecutive output channels
    choose together, by the sums of their magnitudes (tile-shared N:M; Chu, Hong and Wu, 2025): on a CPU
    that is as fast as `vector`, where N:M alone is no faster than single weights. M has to divide
    the layer's input channels (a group's, in a grouped convolution). `skip` and `linear` are those of
    `magnitude`.

    Raises PruningError for N > M, N < 1 or rows < 1, for a layer whose channels M does not divide, for
    a layer with more zeros than N:M leaves, and for a model without a layer to prune.
    """
    check_ratio(n, m)
    check_rows(rows)
    layers = prunable_layers(model, skip=skip, linear=linear)
    choices = [
        Choice(layer, keep_ratio(layer, n, m, rows), {"n": n, "m": m}, notes=tuple(clamped(layer, (rows, 1))))
        for layer in layers
    ]
    check_not_undone(choices)
    return set_masks(choices)


def check_ratio(n: int, m: int) -> None:
    """Raise PruningError unless 1 <= n <= m."""
    if not 1 <= n <= m:
        raise PruningError(f"the ratio is {n}:{m}: give N:M with 1 <= N <= M, N weights kept of every M")


def keep_ratio(layer: WeightLayer, n: int, m: int, rows: int = 1) -> Tensor:
    """`keep_n_of_m` of a layer's weight; PruningError, which names the layer, where M does not fit."""
    channels = layer.weight.shape[1]
    if n < m and channels % m:
        raise PruningError(
            f"layer '{layer.name}' has {channels} input channels{' a group' if layer.groups > 1 else ''}: "
            f"{n}:{m} needs a multiple of {m}. Choose another M, or list the layer in skip"
        )
    return keep_n_of_m(layer.weight, n, m, rows)


def keep_n_of_m(weight: Tensor, n: int, m: int, rows: int = 1) -> Tensor:
    """Boolean mask of the N largest of every M consecutive input channels of [K, C, kh, kw] or [out, in].

    Runs of `rows` output channels share their choice.
    """
    if n == m:
        return torch.ones_like(weight, dtype=torch.bool)
    sums = torch.stack([run.abs().sum(dim=0) for run in torch.split(weight, rows)])
    parts = sums.reshape(len(sums), weight.shape[1] // m, m, -1)
    smallest = torch.sort(parts, dim=2, stable=True).indices[:, :, : m - n]
    keep = torch.ones_like(parts, dtype=torch.bool).scatter(2, smallest, False)
    return keep.reshape(sums.shape).repeat_interleave(rows, dim=0)[: len(weight)]
