"""Partition of a filter matrix's columns into groups that pack into one dense column each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Groups = list[NDArray[np.intp]]

_FORBIDDEN = -1.0


def greedy_groups(kept: NDArray[np.bool_], *, group: int, conflicts: float) -> Groups:
    """Partition the columns of `kept` [K, columns] into groups of at most `group` columns.

    A row's kept weights in a group beyond its first are conflicts; a group has at most
    `conflicts` of them a row on average. The allowed pair of groups with the fewest jointly-zero
    rows is merged until none is allowed (Kung, McDanel, Zhang, ASPLOS 2019); of equal pairs the one
    of the lowest columns. Columns that keep nothing merge as others do, last. Every column is in
    exactly one group; columns ascend in a group, and groups by their first column.

    With conflicts=0 the groups lose nothing. Memory: two float32 matrices [columns, columns].
    """
    merging = _Merging(kept, group=group, budget=conflicts * len(kept))
    members = {column: [column] for column in range(kept.shape[1])}
    while (pair := merging.best_pair()) is not None:
        first, second = pair
        members[first] += members.pop(second)
        merging.merge(first, second)
    return [np.sort(np.array(columns, np.intp)) for columns in members.values()]


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
