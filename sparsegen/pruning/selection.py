"""What the methods share: which weights, or groups of weights, are the smallest, and what may be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sparsegen.errors import PruningError
from sparsegen.pruning.masks import Choice, PrunedLayer, set_masks
from sparsegen.pruning.prunable import WeightLayer
from sparsegen.typed import whole_number
from sparsegen.wording import dimensions


def check_sparsity(sparsity: float) -> None:
    """Raise PruningError unless 0 <= sparsity < 1."""
    if not 0 <= sparsity < 1:
        raise PruningError(f"sparsity is {sparsity}: give a share of weights to remove, 0 <= sparsity < 1")


MOST_CHANNELS = 1 << 20
"""More than any layer has: what goes beyond it is a slip, and more than torch's tensors count."""


def check_rows(rows: int) -> None:
    """Raise PruningError unless so many output channels can share what they keep."""
    if whole_number(rows) is None or not 1 <= rows <= MOST_CHANNELS:
        raise PruningError(
            f"rows is {rows!r}: give a whole number from 1 to {MOST_CHANNELS:,} of output channels that keep "
            "and lose weights together"
        )


def keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    """Boolean tensor of the shape of `scores`, false at the round(sparsity * n) smallest of its n.

    Of equal scores those with the lower index go first.
    """
    keep = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    order = torch.sort(scores.flatten(), stable=True).indices
    keep[order[: round(sparsity * scores.numel())]] = False
    return keep.reshape(scores.shape)


def keep_blocks(weight: Tensor, sparsity: float, shape: tuple[int, int], *, whole: bool = False) -> Tensor:
    """The weights to keep where blocks of `shape`, output by input channels, are kept or dropped whole.

    `weight` is [K, C, kh, kw] or [out, in]; a block's weights share (kh, kw), or are those of all (kh, kw)
    where filters are to be `whole`. The round(sparsity * n) blocks of the least mean magnitude go, which is
    the L1 norm made fair to a last block that is smaller.
    """
    rows, columns = shape
    filters = weight.abs().reshape(*weight.shape[:2], -1)
    taps = filters.shape[2]
    if whole:
        filters = filters.sum(dim=2, keepdim=True)
    sums = torch.stack([part.sum(dim=0) for part in torch.split(filters, rows)])
    sums = torch.stack([part.sum(dim=1) for part in torch.split(sums, columns, dim=1)], dim=1)
    sizes = torch.tensor(
        [
            [high * wide for wide in _extents(weight.shape[1], columns)]
            for high in _extents(weight.shape[0], rows)
        ],
        device=weight.device,
    )
    keep = keep_largest(sums / sizes[:, :, None], sparsity)
    keep = keep.repeat_interleave(rows, dim=0)[: weight.shape[0]]
    keep = keep.repeat_interleave(columns, dim=1)[:, : weight.shape[1]]
    return keep.expand(-1, -1, taps).reshape(weight.shape)


def prune_layers(
    layers: Sequence[WeightLayer],
    keep: Callable[[WeightLayer], Tensor],
    *,
    sparsity: float,
    shape: tuple[int, int] = (1, 1),
) -> tuple[PrunedLayer, ...]:
    """Zero what `keep` does not keep of each layer: of all of them, or of none.

    `sparsity` is the share asked for, in blocks of `shape`, output by input channels. Raises PruningError
    as `check_some_left` and `check_not_undone` do.
    """
    choices = [keeping(layer, keep(layer), sparsity=sparsity, shape=shape) for layer in layers]
    check_not_undone(choices)
    return set_masks(choices)


def keeping(layer: WeightLayer, keep: Tensor, *, sparsity: float, shape: tuple[int, int]) -> Choice:
    """The choice of what to keep of a layer, with notes where that is not what was asked for.

    Raises PruningError as `check_some_left` does.
    """
    check_some_left(layer, keep, sparsity=sparsity, shape=shape)
    notes = [*clamped(layer, shape), *nothing_taken(layer, keep, sparsity)]
    return Choice(layer, keep, notes=tuple(notes))


def clamped(layer: WeightLayer, shape: tuple[int, int]) -> Iterator[str]:
    """Sentences about blocks that reach beyond the layer's channels."""
    for asked, there, what in zip(shape, layer.weight.shape, ("output", "input"), strict=False):
        if asked > there:
            yield (
                f"layer '{layer.name}': {asked} {what} channels together were asked for, and it got {there}, "
                "which are all that it has"
            )


def nothing_taken(layer: WeightLayer, keep: Tensor, sparsity: float) -> Iterator[str]:
    """A sentence about a share that came to nothing, as less than half of a block is none."""
    if sparsity > 0 and keep.all():
        yield (
            f"layer '{layer.name}' of shape {tuple(layer.weight.shape)}: a sparsity of {sparsity:.4g} was "
            "asked for, and it got 0, as that is less than half of a block of its weights"
        )


def check_some_left(
    layer: WeightLayer, keep: Tensor, *, sparsity: float, shape: tuple[int, int] = (1, 1)
) -> None:
    """Raise PruningError where a layer would lose all of its weights."""
    if not keep.any():
        single = shape == (1, 1)
        few = "weights" if single else f"blocks of {dimensions(shape)} channels"
        raise PruningError(
            f"layer '{layer.name}' of shape {tuple(layer.weight.shape)} has few {few}, and a sparsity of "
            f"{sparsity:.4g} takes them all: ask for less{'' if single else ', for smaller blocks'}, or "
            "list the layer in skip"
        )


def check_not_undone(choices: Sequence[Choice]) -> None:
    """Raise PruningError where a layer has more zeros already than its choice would leave.

    Choices that drop nothing ask for nothing, and pass.
    """
    if all(choice.keep.all() for choice in choices):
        return
    for choice in choices:
        weight = choice.layer.weight
        zeros, dropped = int((weight == 0).sum()), int((~choice.keep).sum())
        if dropped < zeros:
            raise PruningError(
                f"layer '{choice.layer.name}' is {zeros / weight.numel():.1%} zeros already, more than the "
                f"{dropped / weight.numel():.1%} asked for: ask for at least that, or list the layer in skip"
            )


def _extents(size: int, part: int) -> list[int]:
    """Extents of `size` cut into parts, the last perhaps smaller."""
    return [min(part, size - start) for start in range(0, size, part)]
