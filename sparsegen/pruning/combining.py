"""Column combining of one filter matrix (Kung, McDanel, Zhang, ASPLOS 2019): which weights it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sparsegen.errors import PruningError
from sparsegen.formats.detect import window_of
from sparsegen.pruning.annealing import anneal
from sparsegen.pruning.grouping import greedy_groups
from sparsegen.pruning.selection import check_sparsity

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

Method = Literal["greedy", "annealing"]


@dataclass(frozen=True, eq=False)
class Combination:
    """A filter matrix [K, columns] combined: `mask` is true where a weight is kept.

    `groups` are the columns of every group, numbered over the whole matrix; in a row a group keeps one
    weight at most. `packing_density` is the share of the K * len(groups) packed weights that are kept ones,
    `sparsity` the share of the matrix's weights that are not, `kept_l1` the share of its L1 norm that is.
    """

    mask: Mask
    groups: tuple[Index, ...]
    packing_density: float
    sparsity: float
    kept_l1: float


def combine_columns(
    matrix: Array,
    *,
    columns_per_channel: int,
    sparsity: float,
    group: int = 8,
    conflicts: float = 0.5,
    method: Method = "greedy",
    seed: int = 0,
    window: int | Literal["auto"] | None = "auto",
) -> Combination:
    """Choose which weights of `matrix` [K, columns] to keep, so that its columns pack into few dense ones.

    Column ic * columns_per_channel + tap is tap `tap` of input channel ic. In order:

    1. the round(sparsity * n) smallest of the n weights are pruned, zeros first, then the lower index;
    2. columns are put into groups of at most `group` with at most `conflicts` conflicts a row on
       average, greedily; `annealing` then improves the groups, from `seed`, by what they keep and no
       longer by the number of conflicts;
    3. in a group each row keeps only its largest weight;
    4. rows that have none left in a group offer their largest that step 1 pruned (never a zero), and
       the largest of these come back as long as the sparsity is not below what was asked for.

    The sparsity asked for is met exactly where the slots allow it; conflicts **may remove more**, where
    there are fewer slots (row, group) than weights to keep, or where the matrix has more zeros.

    Groups form within windows of `window` columns, whole input channels in order: a kernel reads its input in
    blocks of channels that stay in the L1 cache, which a group of columns from everywhere would
    defeat. "auto" takes `window_of` (3x3: 16 channels, 1x1: 128); None makes one window of the
    whole matrix, as in the paper.

    Annealing minimises the magnitude lost to conflicts, as Lin, Hong, Liu and Wu (CANDAR 2023) do, but with
    weights counted beyond the smallest that greedy combining keeps: a slot left empty is refilled with a
    weight of about that size, so that no more is lost. The better of both by `kept_l1` is returned.

    Raises PruningError for a sparsity outside [0, 1), group < 1, conflicts < 0, an unknown method, a seed
    < 0, a window of no whole number of channels, and a matrix of no such number or without weights.
    """
    _check(matrix, columns_per_channel, group, conflicts, method, seed)
    check_sparsity(sparsity)
    cuts = _cuts(matrix.shape[1], columns_per_channel, window)
    magnitudes = np.abs(matrix, dtype=np.float32)
    keep = matrix.size - round(sparsity * matrix.size)
    pruned = _largest(magnitudes, keep)
    grouped = [
        greedy_groups(part > 0, group=group, conflicts=conflicts) for part in np.split(pruned, cuts, axis=1)
    ]
    greedy = _combined(magnitudes, pruned, _numbered(grouped, cuts), keep)
    if method == "greedy":
        return greedy
    excess = np.maximum(magnitudes - _price(magnitudes, greedy.mask, keep), 0)
    annealed = [
        anneal(part, groups, group=group, seed=seed + index)
        for index, (part, groups) in enumerate(zip(np.split(excess, cuts, axis=1), grouped, strict=True))
    ]
    return max(
        greedy, _combined(magnitudes, pruned, _numbered(annealed, cuts), keep), key=lambda c: c.kept_l1
    )


def _check(
    matrix: Array, columns_per_channel: int, group: int, conflicts: float, method: str, seed: int
) -> None:
    if (
        matrix.ndim != 2
        or not matrix.size
        or columns_per_channel < 1
        or matrix.shape[1] % columns_per_channel
    ):
        raise PruningError(
            f"the filter matrix is {matrix.shape} with {columns_per_channel} columns a channel: give "
            "[output channels, columns], not empty, of whole channels"
        )
    if group < 1:
        raise PruningError(f"group is {group}: give the most columns of a group, at least 1")
    if not conflicts >= 0:
        raise PruningError(f"conflicts is {conflicts}: give the most conflicts a row on average, at least 0")
    if method not in get_args(Method):
        raise PruningError(f"method is {method!r}: choose one of {', '.join(get_args(Method))}")
    if seed < 0:
        raise PruningError(f"seed is {seed}: give a whole number, at least 0")


def _cuts(columns: int, columns_per_channel: int, window: int | Literal["auto"] | None) -> Index:
    """First columns of all windows but the first."""
    if window is None:
        return np.arange(0)
    width = window_of(columns_per_channel) if isinstance(window, str) else window
    if width < 1 or width % columns_per_channel:
        raise PruningError(
            f"window is {window} columns: give a positive multiple of the {columns_per_channel} columns of "
            "an input channel, or None for the whole matrix"
        )
    return np.arange(width, columns, width)


def _numbered(grouped: Sequence[Sequence[Index]], cuts: Index) -> tuple[Index, ...]:
    """The groups of all windows, their columns numbered over the whole matrix."""
    firsts = np.concatenate([[0], cuts])
    return tuple(columns + first for first, groups in zip(firsts, grouped, strict=True) for columns in groups)


def _largest(magnitudes: Array, count: int) -> Array:
    """`magnitudes` with all but the `count` largest set to 0; of equal ones the lower index goes first."""
    kept = magnitudes.copy()
    order = np.argsort(magnitudes, axis=None, kind="stable")
    kept.flat[order[: magnitudes.size - count]] = 0
    return kept


def _combined(magnitudes: Array, pruned: Array, groups: tuple[Index, ...], keep: int) -> Combination:
    """Conflict pruning and refilling, to at most `keep` weights; `pruned` is what step 1 left."""
    shape = (len(magnitudes), len(groups))
    chosen, size, refill = np.empty(shape, np.intp), np.empty(shape, np.float32), np.empty(shape, np.bool_)
    rows = np.arange(len(magnitudes))[:, None]
    for index, columns in enumerate(groups):
        of_group = pruned[:, columns]
        refill[:, index] = empty = ~of_group.any(axis=1)
        of_group[empty] = magnitudes[np.ix_(empty, columns)]
        chosen[:, index] = columns[of_group.argmax(axis=1)]
        size[:, index] = of_group.max(axis=1)
    room = keep - int(np.count_nonzero(~refill))
    refilled = _largest(np.where(refill, size, 0), room) > 0
    mask = np.zeros(magnitudes.shape, np.bool_)
    mask[rows, chosen] = refilled | ~refill
    kept = int(np.count_nonzero(mask))
    total = float(magnitudes.sum(dtype=np.float64))
    return Combination(
        mask=mask,
        groups=groups,
        packing_density=kept / refill.size,
        sparsity=1 - kept / mask.size,
        kept_l1=float(magnitudes[mask].sum(dtype=np.float64)) / total if total else 1.0,
    )


def _price(magnitudes: Array, mask: Mask, keep: int) -> np.float32:
    """What one more slot is worth: the smallest weight kept, or nothing where slots are too few."""
    kept = magnitudes[mask]
    return kept.min() if 0 < len(kept) == keep else np.float32(0)
