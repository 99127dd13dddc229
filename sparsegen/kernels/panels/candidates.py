"""Schedules of a panel kernel side by side: what is estimated is estimated for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.registry import FORMATS
from sparsegen.kernels.panels.problem import PanelSchedule

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of pixel vectors, an element a tile."""

    tile_h: Counts
    tile_w: Counts

    @staticmethod
    def within(pixels: tuple[int, int], most: int) -> Tiles:
        """All within an image, of at most so many pixel vectors along an axis."""
        height, width = (min(most, extent) for extent in pixels)
        return Tiles(*(1 + np.indices((height, width)).reshape(2, -1)))

    def __getitem__(self, tiles: Flags) -> Tiles:
        return Tiles(self.tile_h[tiles], self.tile_w[tiles])


@dataclass(frozen=True, eq=False)
class Candidates:
    """An array for every knob of `PanelSchedule` that an estimate depends on, an element a schedule."""

    rows: Counts
    tile_h: Counts
    tile_w: Counts
    block: Counts
    chunk: Counts
    format: NDArray[np.str_]
    permuted: Flags
    parallel: NDArray[np.str_]

    @staticmethod
    def of(schedules: Sequence[PanelSchedule]) -> Candidates:
        """Some schedules."""
        return Candidates(
            *(np.array([getattr(each, knob.name) for each in schedules]) for knob in fields(Candidates))
        )

    @staticmethod
    def joined(parts: Sequence[Candidates]) -> Candidates:
        """The schedules of all parts, in order."""
        return Candidates(
            *(np.concatenate([getattr(each, knob.name) for each in parts]) for knob in fields(Candidates))
        )

    @property
    def kinds(self) -> Counts:
        """A number for every schedule's format and permutation: equal where both are."""
        numbers = self.permuted.astype(np.int64)
        for place, name in enumerate(FORMATS):
            numbers += 2 * place * (self.format == name)
        return numbers

    def schedule(self, index: int) -> PanelSchedule:
        """One of the schedules."""
        knobs: dict[str, Any] = {knob.name: getattr(self, knob.name)[index].item() for knob in fields(self)}
        return PanelSchedule(**knobs)
