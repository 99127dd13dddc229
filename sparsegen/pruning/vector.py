"""Vector pruning: consecutive output channels keep or lose an input weight together."""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.pruning.masks import PrunedLayer
from sparsegen.pruning.prunable import Model, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_rows, check_sparsity, keep_blocks, prune_layers

ROWS = 4
"""Output channels of a vector, unless told."""


@register("vector")
def vector(
    model: Model,
    *,
    sparsity: float,
    rows: int = ROWS,
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place by vectors of `rows` consecutive output channels at one (ic, kh, kw).

    Best for speed: the rows of a panel share one mask, so that every loaded input serves all of them and
    the loop is a dense one. Costs more accuracy than single weights at the same sparsity; not for very
    sparse layers, where few whole vectors are small.

    Each layer loses the round(sparsity * n) of its n vectors with the least mean magnitude, which is the
    L1 norm made fair to a last vector of fewer rows; of equal ones those with the lower index go
    first. `skip` and `linear` are those of `magnitude`.

    Raises PruningError for a sparsity outside [0, 1), rows < 1, a layer that would lose all of its weights or
    has more zeros than asked for, and a model without a layer to prune.
    """
    check_sparsity(sparsity)
    check_rows(rows)
    layers = prunable_layers(model, skip=skip, linear=linear)
    shape = (rows, 1)
    return prune_layers(
        layers, lambda layer: keep_blocks(layer.weight, sparsity, shape), sparsity=sparsity, shape=shape
    )
