"""The options of `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsegen.errors import OptionError
from sparsegen.options import CompileOptions

if TYPE_CHECKING:
    from pathlib import Path

    from sparsegen.database.assign import DatabaseLike


@dataclass(frozen=True, kw_only=True)
class CompareOptions(CompileOptions):
    """The options of a comparison.

    The model: `batch` and `input_shape` go with one that is given by name. It is pruned to `structure`, a
    text of `sparsegen.pruning.structures.parse_structure` (`unstructured`, `vector:8`, `block:4x2`,
    `column-combined`, `2:4`, `2:4x4`, ...), and `sparsity` (None: what N:M says, else 0.5); a sparsity of 0
    measures the weights as they are.

    The race: pruned convolutions whose names match the shell pattern `layers` (None: none), and the whole
    `network`; `samples` times behind every median, on `threads` threads of every engine (None: every core).
    With `csr`, layers also meet scipy's and torch's products of a CSR matrix and the im2col columns. `peers`
    are engines that the network meets too, names of folders in `peers_folder` (None: a checkout's
    `bench/peers`), or `all`. An `artefact` is a file of `sparsegen compile`, of the model as it is pruned
    here, for this batch and these threads: the network meets what was saved, too.

    Our kernels, sparse and dense: code for `target`, schedules from `database`, and Winograd's filtering
    where `winograd` allows, as in `sparsegen.compile`.
    """

    sparsity: float | None = None
    structure: str = "unstructured"
    layers: str | None = "*"
    network: bool = True
    csr: bool = False
    samples: int = 15
    database: DatabaseLike = "shipped"
    peers: Sequence[str] = ()
    peers_folder: Path | None = None
    artefact: Path | None = None

    def check(self) -> None:
        """Raise OptionError for what no model and no machine could make sense of."""
        super().check()
        self._check_least(1, "samples")
        if not self.network and self.layers is None:
            raise OptionError("neither layers nor the network are to be timed: leave out one of the two")
        if self.peers and not self.network:
            raise OptionError(
                "peers run whole networks: leave out --no-network (network=False), or the peers"
            )
        if self.artefact is not None and not self.network:
            raise OptionError(
                "an artefact is a whole network: leave out --no-network (network=False), or the artefact"
            )
