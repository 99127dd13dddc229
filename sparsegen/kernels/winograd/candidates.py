"""Schedules of Winograd's kernel side by side: what is estimated is estimated for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.kernels.winograd.problem import SparseWinogradSchedule, WinogradProblem, WinogradSchedule

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Schedules with as many outputs side by side: an array for every other knob, an element a schedule.

    `kept` are the input channels that a group of rows multiplies at a position, on average; `permuted` is
    None of schedules that multiply all, and `chains` are a sum's.
    """

    outputs: int
    rows: Counts
    tiles_h: Counts
    tiles_w: Counts
    chunk: Counts
    kept: Floats
    permuted: bool | None = None
    chains: int = 1

    @staticmethod
    def of(problem: WinogradProblem, knobs: WinogradSchedule) -> Candidates:
        """One schedule of a problem."""
        points = np.array([[knobs.rows, knobs.tiles_h, knobs.tiles_w, knobs.chunk]])
        if isinstance(knobs, SparseWinogradSchedule):
            return Candidates.keeping(problem, knobs.outputs, points, knobs.permuted, knobs.chains)
        return Candidates.keeping(problem, knobs.outputs, points)

    @staticmethod
    def keeping(
        problem: WinogradProblem,
        outputs: int,
        points: Counts,
        permuted: bool | None = None,
        chains: int = 1,
    ) -> Candidates:
        """Schedules of a problem, with what their groups of rows keep; points are [schedules, knobs]."""
        rows, tiles_h, tiles_w, chunk = points.T
        kept = np.full(len(rows), problem.multiplied(outputs))
        if permuted is not None:
            for each in np.unique(rows).tolist():
                kept[rows == each] = problem.mean_kept(outputs, each, permuted=permuted, chains=chains)
        return Candidates(outputs, rows, tiles_h, tiles_w, chunk, kept, permuted, chains)

    def __getitem__(self, which: NDArray[np.bool_]) -> Candidates:
        counts = (self.rows, self.tiles_h, self.tiles_w, self.chunk)
        rows, tiles_h, tiles_w, chunk = (each[which] for each in counts)
        kept = self.kept[which]
        return Candidates(self.outputs, rows, tiles_h, tiles_w, chunk, kept, self.permuted, self.chains)

    @property
    def sparse(self) -> bool:
        """Whether filters are skipped."""
        return self.permuted is not None

    def schedule(self, index: int) -> WinogradSchedule:
        """One of the schedules."""
        counts = (self.rows, self.tiles_h, self.tiles_w, self.chunk)
        rows, tiles_h, tiles_w, chunk = (int(each[index]) for each in counts)
        if self.permuted is None:
            return WinogradSchedule(self.outputs, rows, tiles_h, tiles_w, chunk)
        return SparseWinogradSchedule(self.outputs, rows, tiles_h, tiles_w, chunk, self.permuted, self.chains)
