"""Partition of a filter matrix's columns into groups that pack into one dense column each.

`greedy_groups` chooses groups for pruning, which removes what conflicts in them. `disjoint_groups` finds the
groups of combined weights again, from the weights alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Groups = list[NDArray[np.intp]]

WINDOW = 144
"""Columns of a window at most: 16 input channels of 3x3."""

_FORBIDDEN = -1.0

_COUNTS = 4
"""Numbers of groups that `disjoint_groups` tries, from the fewest possible on."""
_PATIENCE = 100
"""Swaps without progress after which a search is given up."""


def greedy_groups(kept: NDArray[np.bool_], *, group: int, conflicts: float) -> Groups:
    """Partition the columns of `kept` [K, columns] into groups of at most `group` columns.

    A row's kept weights in a group beyond its first are conflicts; a group has at most
    `conflicts` of them a row on average. The allowed pair of groups with the fewest jointly-zero
    rows is merged until none is allowed (Kung, McDanel, Zhang, ASPLOS 2019); of equal pairs the one
    of the lowest columns. Columns that keep nothing merge as others do, last. Every column is in
    exactly one group; columns ascend in a group, and groups by their first column.

    With conflicts=0 the groups lose nothing, but see `disjoint_groups`. Memory: two float32 matrices
    [columns, columns].
    """
    merging = _Merging(kept, group=group, budget=conflicts * len(kept))
    members = {column: [column] for column in range(kept.shape[1])}
    while (pair := merging.best_pair()) is not None:
        first, second = pair
        members[first] += members.pop(second)
        merging.merge(first, second)
    return [np.sort(np.array(columns, np.intp)) for columns in members.values()]


def window_columns(columns_per_channel: int) -> int:
    """Columns of the windows that groups form in, unless told: few enough for their input to stay in L1.

    The largest power of two of input channels with at most `WINDOW` columns; one channel at least.
    """
    channels = max(1, WINDOW // columns_per_channel)
    return columns_per_channel * int(2 ** (channels.bit_length() - 1))


def disjoint_groups(kept: NDArray[np.bool_], *, group: int) -> Groups:
    """Partition the columns of `kept` [K, columns] into few groups, in which no row keeps two weights.

    Groups have at most `group` columns; columns ascend in a group, and groups by their first column.
    Where greedy groups are more than the fewest possible, as where few rows let columns of different
    groups fit by chance, a search by swaps tries that number and the next few (tabu search, as Hertz
    and de Werra colour graphs, Computing 39, 1987). Tried on normal weights of 64 to 512 rows, combined
    at 80, 88 and 95 % sparsity, it found as few groups again, but for 256 rows at 95 %: up to 40 %
    more, where greedy had up to 42 %. There is never a conflict. Deterministic.

    Best for windows of some hundred combined columns: a few ms each. When not: weights that were never
    combined, whose search is in vain and takes up to half a second a window, and whole matrices.
    """
    greedy = greedy_groups(kept, group=group, conflicts=0)
    occupied = kept.astype(np.float32)
    shared = occupied.T @ occupied
    np.fill_diagonal(shared, 0)
    fewest = _fewest_groups(kept, shared, group)
    rng = np.random.default_rng(0)
    for count in range(fewest, min(len(greedy), fewest + _COUNTS)):
        group_of = _separated(shared, greedy, count=count, group=group, rng=rng)
        if group_of is not None:
            groups = [np.flatnonzero(group_of == index) for index in range(count)]
            return sorted((each for each in groups if each.size), key=lambda each: int(each[0]))
    return greedy


def _fewest_groups(kept: NDArray[np.bool_], shared: NDArray[np.float32], group: int) -> int:
    """No partition has fewer: a row's weights lie in different groups, and some columns fit no other."""
    columns = len(shared)
    alone = int(np.count_nonzero(np.count_nonzero(shared, axis=1) == columns - 1))
    return max(int(kept.sum(axis=1).max(initial=0)), alone - (alone - columns) // group)


def _separated(
    shared: NDArray[np.float32], start: Groups, *, count: int, group: int, rng: np.random.Generator
) -> NDArray[np.intp] | None:
    """The group of every column, such that none shares a row in its group; None if the search gives up.

    Each step swaps a column that collides with any slot of another group, empty ones included: the
    best swap of all, though neither column may return to its group for a while. Ties go by chance.
    """
    group_of = _in_slots(start, count=count, group=group, columns=len(shared), rng=rng)
    slots = np.arange(len(group_of))
    weight = np.zeros((len(slots), len(slots)), np.float32)
    weight[: len(shared), : len(shared)] = shared
    collisions = weight @ (group_of[:, None] == np.arange(count)).astype(np.float32)  # [slots, groups]
    barred_until = np.zeros(collisions.shape, np.intp)
    fewest, progress, step = np.inf, 0, 0
    while step - progress <= _PATIENCE:
        own = collisions[slots, group_of]
        total = float(own.sum()) / 2
        if total == 0:
            return group_of[: len(shared)]
        if total < fewest:
            fewest, progress = total, step
        step += 1
        colliding = np.flatnonzero(own)
        groups = group_of[colliding]
        change = collisions[colliding][:, group_of] + collisions[:, groups].T - 2 * weight[colliding]
        change -= own[colliding, None] + own
        free_at = np.maximum(barred_until[colliding][:, group_of], barred_until[:, groups].T)
        change[(free_at > step) & (total + change >= fewest) | (groups[:, None] == group_of)] = np.inf
        change += rng.random(change.shape, np.float32) / 2
        index, other = np.divmod(int(change.argmin()), len(slots))
        one = colliding[index]
        left, entered = group_of[one], group_of[other]
        wait = 1 + int(rng.integers(10)) + len(colliding) // 6
        barred_until[one, left] = barred_until[other, entered] = step + wait
        group_of[one], group_of[other] = entered, left
        moved = weight[one] - weight[other]
        collisions[:, left] -= moved
        collisions[:, entered] += moved
    return None


def _in_slots(
    start: Groups, *, count: int, group: int, columns: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Groups of `count` * `group` slots, the columns first: the largest of `start` stay, others spread."""
    group_of = np.full(count * group, -1, np.intp)
    for index, members in enumerate(sorted(start, key=len, reverse=True)[:count]):
        group_of[members] = index
    free = np.repeat(np.arange(count), group - np.bincount(group_of[group_of >= 0], minlength=count))
    group_of[group_of < 0] = rng.permutation(free)
    return group_of


class _Merging:
    """Groups under way, each at the index of its first column, and the gain of merging any two.

    The gain of a pair is the number of rows that either occupies: K less the jointly-zero ones. A
    pair that is forbidden stays so, since sizes and conflicts only grow.
    """

    def __init__(self, kept: NDArray[np.bool_], *, group: int, budget: float) -> None:
        self._occupied = kept.astype(np.float32)
        self._rows = self._occupied.sum(axis=0)
        self._sizes = np.ones(kept.shape[1], np.intp)
        self._conflicts = np.zeros(kept.shape[1], np.float32)
        self._group, self._budget = group, budget
        shared = self._occupied.T @ self._occupied
        self._gain = self._rows[:, None] + self._rows - shared
        self._gain[(shared > budget) | (group < 2)] = _FORBIDDEN
        np.fill_diagonal(self._gain, _FORBIDDEN)
        # A group's best partner is looked up only when its bound is the largest of all: a merge
        # moves few bounds up, and leaves the others as bounds that may be too high (stale).
        self._partner = self._gain.argmax(axis=1) if self._gain.size else np.zeros(0, np.intp)
        self._bound = self._gain.max(axis=1, initial=_FORBIDDEN)
        self._stale = np.zeros(kept.shape[1], np.bool_)

    def best_pair(self) -> tuple[int, int] | None:
        """The allowed pair of the largest gain, the lowest columns first; None if none is left."""
        while self._bound.size:
            group = int(self._bound.argmax())
            if self._bound[group] == _FORBIDDEN:
                return None
            if not self._stale[group]:
                return group, int(self._partner[group])
            self._partner[group] = partner = self._gain[group].argmax()
            self._bound[group] = self._gain[group, partner]
            self._stale[group] = False
        return None

    def merge(self, first: int, second: int) -> None:
        """Let `first` take in `second`."""
        gain = self._gain_of_merged(first, second)
        self._gain[first] = self._gain[:, first] = gain
        self._gain[second] = self._gain[:, second] = _FORBIDDEN
        self._bound[second] = _FORBIDDEN
        self._stale |= (self._partner == first) | (self._partner == second)
        higher = gain > self._bound
        self._partner[higher], self._bound[higher], self._stale[higher] = first, gain[higher], False
        self._bound[first], self._stale[first] = gain.max(), True

    def _gain_of_merged(self, first: int, second: int) -> NDArray[np.float32]:
        """Join both groups' rows, and return the gain of merging each group with the result."""
        a, b = self._occupied[:, first], self._occupied[:, second]
        both = self._occupied[np.flatnonzero(a * b)]
        # |(A or B) and C| from the gains of A and B with C: only rows of both have to be counted.
        shared = self._rows * 2 + self._rows[first] + self._rows[second]
        shared -= self._gain[first] + self._gain[second] + both.sum(axis=0)
        allowed = (self._gain[first] >= 0) & (self._gain[second] >= 0)
        self._sizes[first] += self._sizes[second]
        self._conflicts[first] += self._conflicts[second] + len(both)
        self._rows[first] += self._rows[second] - len(both)
        np.maximum(a, b, out=a)
        allowed &= self._sizes + self._sizes[first] <= self._group
        allowed &= self._conflicts + self._conflicts[first] + shared <= self._budget
        return np.where(allowed, self._rows[first] + self._rows - shared, np.float32(_FORBIDDEN))
