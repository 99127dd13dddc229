"""Block pruning: blocks of output by input channels are kept or dropped whole."""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.errors import PruningError
from sparsegen.pruning.masks import PrunedLayer
from sparsegen.pruning.prunable import Model, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import MOST_CHANNELS, check_sparsity, keep_blocks, prune_layers
from sparsegen.typed import whole_number

SHAPE = (4, 4)
"""Output by input channels of a block, unless told."""


@register("block")
def block(
    model: Model,
    *,
    sparsity: float,
    shape: tuple[int, int] = SHAPE,
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place by blocks of `shape`, output by input channels, at one (kh, kw).

    Best for engines that multiply small dense matrices, and for few, long runs of weights in memory.
    Costs the most accuracy of all methods at one sparsity: take `vector` where only the rows of a
    panel have to agree.

    Each layer loses the round(sparsity * n) of its n blocks with the least mean magnitude; the last
    blocks may be smaller, where the channels are no multiple of `shape`. Of equal ones those with the
    lower index go first. `skip` and `linear` are those of `magnitude`.

    Raises PruningError for a sparsity outside [0, 1), a shape below 1, a layer that would lose all of its
    weights or has more zeros than asked for, and a model without a layer to prune.
    """
    check_sparsity(sparsity)
    check_shape(shape)
    layers = prunable_layers(model, skip=skip, linear=linear)
    return prune_layers(
        layers, lambda layer: keep_blocks(layer.weight, sparsity, shape), sparsity=sparsity, shape=shape
    )


def check_shape(shape: tuple[int, int]) -> None:
    """Raise PruningError unless a block can have that shape."""
    if len(shape) != 2 or not all(
        whole_number(each) is not None and 1 <= each <= MOST_CHANNELS for each in shape
    ):
        raise PruningError(
            f"the block shape is {shape}: give output and input channels, each at least 1, and at most "
            f"{MOST_CHANNELS:,}"
        )
