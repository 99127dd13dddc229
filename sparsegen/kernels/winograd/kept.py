"""Which filters Winograd's sparse kernel multiplies by: those that are not zero everywhere.

A filter of zeros stays one when it is transformed. Where all rows of a panel have one for an input channel,
none of the n x n products of that channel is computed for the panel, and the loop over the other channels is
a dense one, the same for every position of a tile.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.lowering.ahead import DEPTH

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class KeptChannels:
    """The input channels that every panel multiplies, panel after panel.

    `channels` [listed] are ascending within a panel; `starts` [panels * parts + 1] tell where those of each
    part of the channels begin. A part has a multiple of some number: its last channel may be listed again,
    `repeated`, to be multiplied by zero.
    """

    channels: NDArray[np.int32]
    starts: NDArray[np.int32]
    repeated: Flags
    parts: int

    @staticmethod
    def of(kept: Flags, *, rows: int, panels: int, multiple: int, ends: Sequence[int]) -> KeptChannels:
        """Of `panels` panels of `rows` output channels; `kept` [out channels, channels] are their filters.

        `ends` tell how many channels end every part of them.
        """
        lists, repeated = [], []
        for panel in _of_panels(kept, rows, panels):
            for begin, end in itertools.pairwise([0, *ends]):
                own = begin + np.flatnonzero(panel[begin:end])
                missing = -len(own) % multiple
                lists.append(np.concatenate([own, np.repeat(own[-1:], missing)]))
                repeated.append(np.arange(len(lists[-1])) >= len(own))
        starts = np.cumsum([0, *map(len, lists)])
        channels = np.concatenate(lists).astype(np.int32)
        return KeptChannels(channels, starts.astype(np.int32), np.concatenate(repeated), len(ends))

    @property
    def addresses(self) -> NDArray[np.int32]:
        """The channels as a kernel reads them, some ahead of the one that it multiplies."""
        return np.pad(self.channels, (0, DEPTH))

    @property
    def panel_of(self) -> NDArray[np.intp]:
        """The panel of every listed channel, [listed]."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts)) // self.parts


def mean_kept(kept: Flags, rows: int, *, multiple: int, ends: Sequence[int]) -> list[float]:
    """Input channels that a panel of `rows` output channels lists of every part, on average."""
    of_panels = _of_panels(kept, rows, -(-len(kept) // rows))
    counts = [of_panels[:, begin:end].sum(axis=1) for begin, end in itertools.pairwise([0, *ends])]
    return [float((-(-count // multiple) * multiple).mean()) for count in counts]


def _of_panels(kept: Flags, rows: int, panels: int) -> Flags:
    """Whether any row of a panel keeps a channel, [panels, channels]."""
    padded = np.pad(kept, ((0, panels * rows - len(kept)), (0, 0)))
    of_panels: Flags = np.any(padded.reshape(panels, rows, -1), axis=1)
    return of_panels
