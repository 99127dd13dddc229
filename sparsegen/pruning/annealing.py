"""Simulated annealing of a partition of columns into groups (Lin, Hong, Liu, Wu, CANDAR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsegen.pruning.grouping import Groups

Array = NDArray[np.float32]
Index = NDArray[np.intp]

SWEEPS = 400
HOT, COLD = 0.3, 0.025
"""First and last temperature, in standard deviations of the energy differences of the first sweep."""

_CACHED = 2**17
"""Weights of the pairs that are evaluated at once: 512 KiB of float32, which a core's L2 cache holds."""


def lost_magnitude(magnitudes: Array, groups: Sequence[Index]) -> float:
    """Energy of a partition of `magnitudes` [K, columns]: what is not the largest of its row and group."""
    lost = (magnitudes[:, columns].sum(axis=1) - magnitudes[:, columns].max(axis=1) for columns in groups)
    return float(sum(rows.sum(dtype=np.float64) for rows in lost))


def anneal(
    magnitudes: Array, groups: Sequence[Index], *, group: int, seed: int, sweeps: int = SWEEPS
) -> Groups:
    """Improve a partition of the columns of `magnitudes` [K, columns] (not negative); groups stay <= `group`.

    The energy is `lost_magnitude`. A sweep pairs the groups at random; of every pair it evaluates all swaps
    of one column each at once, a move being a swap with an empty slot, and draws one of them, or none,
    by its Boltzmann weight (heat bath). The temperature falls geometrically. The best partition seen is
    returned: it never has more energy than `groups`, nor more groups. Its columns ascend in a group,
    and its groups by their first column.

    Best for windows of some hundred columns, at some 20 times the time of greedy grouping. When not: a
    whole matrix at once, where a column meets too few of the groups for so many sweeps.

    Chosen by trial on normal weights of 64 to 512 rows at 80, 88 and 95 % sparsity: beginnings of 0.2 to 0.5
    standard deviations and ends of 0.02 to 0.05 keep the same within noise, later ends (0.1) keep
    less; 400 sweeps reach more than four fifths of what 4,000 gain.
    """
    columns = magnitudes.shape[1]
    before = lost_magnitude(magnitudes, groups)
    if len(groups) < 2 or before == 0:
        return list(groups)
    by_column = np.zeros((columns + 1, len(magnitudes)), np.float32)  # the last: an empty slot
    by_column[:columns] = magnitudes.T
    slots = np.full((len(groups), group), columns, np.intp)
    for slot, members in zip(slots, groups, strict=True):
        slot[: len(members)] = members
    slots = _annealed(by_column, slots, np.random.default_rng(seed), sweeps)
    found = [np.sort(slot[slot < columns]) for slot in slots]
    annealed = sorted((each for each in found if each.size), key=lambda each: int(each[0]))
    # The sums along the way are rounded to float32: these are not.
    return annealed if lost_magnitude(magnitudes, annealed) < before else list(groups)


def _annealed(by_column: Array, slots: Index, rng: np.random.Generator, sweeps: int) -> Index:
    """The best table of slots [groups, group] seen; `by_column` is [columns + 1, K]."""
    chunk = max(1, _CACHED // (2 * slots.shape[1] * by_column.shape[1]))
    best, gained, most, spread = slots.copy(), 0.0, 0.0, 0.0
    for temperature in np.geomspace(HOT, COLD, sweeps):
        paired = rng.permutation(len(slots))[: len(slots) // 2 * 2].reshape(2, -1)
        for start in range(0, paired.shape[1], chunk):
            pairs = paired[:, start : start + chunk]
            gains = _gains(by_column[slots[pairs]])
            spread = spread or float(gains.std())
            # The largest of the weights with Gumbel noise is a draw by their Boltzmann weights.
            chosen = (gains + temperature * spread * rng.gumbel(size=gains.shape)).argmax(axis=1)
            gained += float(gains[np.arange(len(chosen)), chosen].sum(dtype=np.float64))
            _swap(slots, pairs, chosen)
        if gained > most:
            best, most = slots.copy(), gained
    return best


def _swap(slots: Index, pairs: Index, chosen: Index) -> None:
    """Carry out the drawn swap of every pair; the last choice stands for none."""
    group = slots.shape[1]
    swapped = chosen < group * group
    one, other = pairs[:, swapped]
    leaving, entering = np.divmod(chosen[swapped], group)
    slots[one, leaving], slots[other, entering] = slots[other, entering], slots[one, leaving]


def _gains(weights: Array) -> Array:
    """Magnitude gained by every swap in pairs of groups, weights [2, pairs, group, K].

    Returns [pairs, group * group + 1]: by slot of the first group and slot of the second; then 0, for none.
    A group that loses one slot has its second-largest weight left in the rows where that slot
    held the largest, and its largest elsewhere. So the maximum with an entering column is
    taken with both, and one matrix product adds up the rows for every leaving slot.
    """
    _, pairs, group, rows = weights.shape
    largest, second = _two_largest(weights)
    with_entering = np.empty((2, pairs, group, 2 * rows), np.float32)
    np.maximum(weights[::-1], largest[:, :, None], out=with_entering[..., :rows])
    np.maximum(weights[::-1], second[:, :, None], out=with_entering[..., rows:])
    of_leaving = np.empty((2, pairs, group, 2 * rows), np.float32)
    np.not_equal(weights, largest[:, :, None], out=of_leaving[..., :rows])
    np.equal(weights, largest[:, :, None], out=of_leaving[..., rows:])
    kept = of_leaving @ with_entering.swapaxes(2, 3)  # [2, pairs, leaving, entering]
    gains = np.zeros((pairs, group * group + 1), np.float32)
    gains[:, :-1] = (kept[0] + kept[1].swapaxes(1, 2)).reshape(pairs, -1)
    gains[:, :-1] -= largest.sum(axis=(0, 2))[:, None]
    return gains


def _two_largest(weights: Array) -> tuple[Array, Array]:
    """The largest and the second-largest weight over the slots of [..., group, K]; twice, if equal."""
    largest = weights[..., 0, :].copy()
    second = np.zeros_like(largest)
    for slot in range(1, weights.shape[-2]):
        entering = weights[..., slot, :]
        np.maximum(second, np.minimum(largest, entering), out=second)
        np.maximum(largest, entering, out=largest)
    return largest, second
