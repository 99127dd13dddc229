"""The options of `sparsegen prune`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparsegen.options import ModelOptions


@dataclass(frozen=True, kw_only=True)
class PruneOptions(ModelOptions):
    """The options of a run of `sparsegen prune`.

    `structure` is a text of `sparsegen.pruning.structures.parse_structure`, which says all but the sparsity;
    without it, `method` is a name or alias of `sparsegen.pruning.registry`. From `sparsity` to `threads` they
    are options of methods, each explained there, None being one that is left out: `partition` is column
    combining's `method`; `budget`, in seconds, goes with the `ratios` (n, m) whose times are measured, on
    `threads` threads (None: every core).

    `skip` holds the names, or shell patterns of names, of layers that stay dense (None: the first convolution
    and the classifier); `linear` prunes linear layers too. `weights` is the path of a state dict that the
    model gets first. The saved model is called with `batch` images of `input_shape`.
    """

    structure: str | None = None
    method: str | None = None
    sparsity: float | None = None
    n: int | None = None
    m: int | None = None
    rows: int | None = None
    shape: tuple[int, ...] | None = None
    group: int | None = None
    conflicts: float | None = None
    partition: Literal["greedy", "annealing"] | None = None
    seed: int | None = None
    budget: float | None = None
    ratios: tuple[tuple[int, int], ...] | None = None
    threads: int | None = None
    skip: Sequence[str] | None = None
    linear: bool = False
    weights: Path | None = None
