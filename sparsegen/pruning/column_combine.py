"""Column combining: columns of the filter matrix packed into fewer dense ones (Kung et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from sparsegen.formats.structure_names import COLUMN_COMBINED
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.combining import combine_columns
from sparsegen.pruning.masks import Choice, PrunedLayer, on_trial, report, set_masks
from sparsegen.pruning.prunable import Model, WeightLayer, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_some_left, check_sparsity, keep_largest, nothing_taken


@register(COLUMN_COMBINED, alias="column_combine")
def column_combine(
    model: Model,
    *,
    sparsity: float,
    group: int = 8,
    conflicts: float = 0.5,
    method: Literal["greedy", "annealing"] = "greedy",
    seed: int = 0,
    skip: Sequence[str] | None = None,
    linear: bool = False,
    on_progress: Listener | None = None,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place so that the columns of its filter matrices pack into fewer dense ones.

    Best for very sparse layers (80 % and more), which it packs into short, regular rows without an index a
    weight. Not for 50 %: few columns can share a group there, and conflicts cost much magnitude.

    A layer's filter matrix is [K, C * kh * kw]. The smallest weights go, to `sparsity`; columns are then put
    into groups of at most `group`, with at most `conflicts` conflicts a row on average, and in a group each
    row keeps only its largest weight; slots that are empty then are offered to the largest weights
    that went first. Where there are fewer slots than weights to keep, that conflict pruning **removes
    more than `sparsity` asks**: the layers returned tell what is left, and in `detail` their `groups` and
    `packing_density`, the share of the packed [K, groups] weights that are not zero. A layer that is
    sparser already is packed as it is. Weights lost to conflicts want fine-tuning; `GradualPruning`
    repeats prune, group, conflict-prune. `combine_columns` in `combining.py` does it for one matrix.

    `method` partitions greedily, as Kung, McDanel and Zhang (ASPLOS 2019) do, or by simulated annealing from
    `seed` for the least magnitude lost, as Lin, Hong, Liu and Wu (CANDAR 2023) do, which takes longer and
    loses less. `skip` and `linear` are those of `magnitude`. `on_progress(text, done, total)` is told of
    every layer.

    Raises PruningError for a sparsity outside [0, 1), group < 1, conflicts < 0, an unknown method, a layer
    that would lose all of its weights, and a model without a layer to prune.
    """
    check_sparsity(sparsity)
    layers = prunable_layers(model, skip=skip, linear=linear)
    for layer in layers:
        check_some_left(layer, keep_largest(layer.weight.abs(), sparsity), sparsity=sparsity)
    if on_trial():
        return report(layers)
    steps, choices = Steps(on_progress, total=len(layers)), []
    for layer in layers:
        steps.begin(f"combining the columns of layer {layer.name}")
        choices.append(
            _combine(layer, sparsity=sparsity, group=group, conflicts=conflicts, method=method, seed=seed)
        )
    return set_masks(choices)


def _combine(
    layer: WeightLayer,
    *,
    sparsity: float,
    group: int,
    conflicts: float,
    method: Literal["greedy", "annealing"],
    seed: int,
) -> Choice:
    weight = layer.weight
    combination = combine_columns(
        weight.reshape(len(weight), -1).to("cpu", torch.float32).numpy(),
        columns_per_channel=weight[0, 0].numel(),
        sparsity=sparsity,
        group=group,
        conflicts=conflicts,
        method=method,
        seed=seed,
    )
    keep = torch.from_numpy(combination.mask).reshape(weight.shape)
    return Choice(
        layer,
        keep,
        {"groups": len(combination.groups), "packing_density": combination.packing_density},
        notes=tuple(nothing_taken(layer, keep, sparsity)),
    )
