"""Kernel pruning: consecutive output channels keep or lose their whole filters of an input channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sparsegen.pruning.masks import PrunedLayer
from sparsegen.pruning.prunable import Model, WeightLayer, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_rows, check_sparsity, keep_blocks, prune_layers
from sparsegen.pruning.vector import ROWS


@register("kernel")
def kernel(
    model: Model,
    *,
    sparsity: float,
    rows: int = ROWS,
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place by the filters of `rows` consecutive output channels for one input channel.

    Best for speed in convolutions of 3x3 and more: a filter of zeros stays one under Winograd's transform, so
    that the multiplications which minimal filtering leaves are skipped as well. Costs more accuracy than
    `vector`, which keeps single taps, at the same sparsity. Convolutions of 1x1, and linear layers, are
    pruned as `vector` does it.

    Each layer loses the round(sparsity * n) of its n groups of filters with the least mean magnitude, which
    is the L1 norm made fair to a last group of fewer rows; the rows of a layer that has fewer output channels
    than `rows` are one group. Of equal ones those with the lower index go first. Depthwise convolutions stay
    dense, as always. `skip` and `linear` are those of `magnitude`.

    Raises PruningError for a sparsity outside [0, 1), rows < 1, a layer that would lose all of its weights or
    has more zeros than asked for, and a model without a layer to prune.
    """
    check_sparsity(sparsity)
    check_rows(rows)
    layers = prunable_layers(model, skip=skip, linear=linear)
    return prune_layers(
        layers, lambda layer: keep_filters(layer, sparsity, rows), sparsity=sparsity, shape=(rows, 1)
    )


def keep_filters(layer: WeightLayer, sparsity: float, rows: int) -> Tensor:
    """What a layer keeps of the filters of `rows` output channels together."""
    return keep_blocks(layer.weight, sparsity, (rows, 1), whole=True)
