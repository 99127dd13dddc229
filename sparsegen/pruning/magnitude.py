"""Magnitude pruning: the smallest weights become zero, of each layer or of all layers together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from sparsegen.errors import PruningError
from sparsegen.formats.structure_names import UNSTRUCTURED, UNSTRUCTURED_GLOBAL
from sparsegen.pruning.masks import Choice, PrunedLayer, set_masks
from sparsegen.pruning.prunable import Model, WeightLayer, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_not_undone, check_sparsity, keep_largest, prune_layers

Scope = Literal["layer", "global"]


@register(UNSTRUCTURED_GLOBAL, alias="global", scope="global")
@register(UNSTRUCTURED, alias="magnitude", scope="layer")
def magnitude(
    model: Model,
    *,
    sparsity: float,
    scope: Scope = "layer",
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune the smallest weights of `model`, in place, wherever they are.

    Best for accuracy at a given sparsity, and the first to try. A scope of "layer" gives every layer the
    same sparsity: best for comparing speed; a layer that needs all of its weights loses as many as
    one that does not. "global" sets one threshold over all layers: best for high sparsity with
    fine-tuning; not for networks whose layers differ in scale, where whole layers may vanish. For more
    speed from the same number of zeros give them structure: `vector`, `n_m`, `column_combine`.

    The round(sparsity * n) weights of the smallest magnitude of the n go; of equal ones those with the
    lower index first. `skip` holds the names, or shell patterns of names, of the layers that stay dense;
    None stands for the first convolution and the last layer, which is the classifier. `linear` prunes
    linear layers too; a model without convolutions has them pruned anyway. Depthwise convolutions always
    stay dense. A weight that is zero already stays so.

    A module's masks are those of `torch.nn.utils.prune`, so that any training loop fine-tunes with them
    held; `finalize` makes them permanent. In an exported program the weights themselves become zero.

    Raises PruningError for a sparsity outside [0, 1), an unknown scope, a layer with more zeros than asked
    for or, where each layer counts alone, that would lose all of its weights, a pattern in `skip` that
    matches no layer, and a model without a layer to prune.
    """
    check_sparsity(sparsity)
    if scope not in get_args(Scope):
        raise PruningError(f"scope is {scope!r}: choose one of {', '.join(get_args(Scope))}")
    layers = prunable_layers(model, skip=skip, linear=linear)
    if scope == "layer":
        return prune_layers(
            layers, lambda layer: keep_largest(layer.weight.abs(), sparsity), sparsity=sparsity
        )
    choices = _keep_largest_of_all(layers, sparsity)
    check_not_undone(choices)
    return set_masks(choices)


def _keep_largest_of_all(layers: Sequence[WeightLayer], sparsity: float) -> list[Choice]:
    magnitudes = [layer.weight.abs().flatten() for layer in layers]
    keep = keep_largest(torch.cat(magnitudes), sparsity)
    parts = torch.split(keep, [part.numel() for part in magnitudes])
    return [
        Choice(layer, part.reshape(layer.weight.shape), notes=_vanished(layer, part))
        for layer, part in zip(layers, parts, strict=True)
    ]


def _vanished(layer: WeightLayer, keep: Tensor) -> tuple[str, ...]:
    """A note where the threshold leaves nothing of a layer."""
    return () if keep.any() else (f"layer '{layer.name}' lost all of its weights to the common threshold",)
