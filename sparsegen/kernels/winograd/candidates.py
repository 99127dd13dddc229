"""Schedules of Winograd's kernel side by side: what is estimated is estimated for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.kernels.winograd.problem import WinogradSchedule

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Schedules with as many outputs side by side: an array for every other knob, an element a schedule."""

    outputs: int
    rows: Counts
    tiles_h: Counts
    tiles_w: Counts
    chunk: Counts

    @staticmethod
    def of(knobs: WinogradSchedule) -> Candidates:
        """One schedule."""
        arrays = (np.array([value]) for value in (knobs.rows, knobs.tiles_h, knobs.tiles_w, knobs.chunk))
        return Candidates(knobs.outputs, *arrays)

    def __getitem__(self, which: NDArray[np.bool_]) -> Candidates:
        return Candidates(
            self.outputs, self.rows[which], self.tiles_h[which], self.tiles_w[which], self.chunk[which]
        )

    def schedule(self, index: int) -> WinogradSchedule:
        """One of the schedules."""
        knobs = (self.rows, self.tiles_h, self.tiles_w, self.chunk)
        return WinogradSchedule(self.outputs, *(int(knob[index]) for knob in knobs))
