"""The auto-tuner: searches the schedules of a model's layers, measures them, and keeps what it measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sparsegen.progress import Listener
    from sparsegen.pruning.prunable import Model
    from sparsegen.tuner.view import Progress


def tune(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None = None,
    *,
    journal: str | os.PathLike[str],
    trials: int | None = None,
    hours: float | None = None,
    threads: int | None = None,
    batch: int | None = None,
    layers: str = "*",
    sparsity: float | None = 0.0,
    structure: str = "unstructured",
    dense: bool = False,
    target: str = "native",
    input_shape: tuple[int, ...] | None = None,
    search: str = "evolution",
    seed: int = 0,
    patience: int = 128,
    priors: Sequence[str | os.PathLike[str]] = (),
    rpc: str | None = None,
    key: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Listener | None = None,
) -> Progress:
    """Search for faster schedules of a model's layers; `compile(..., database=journal)` uses what is found.

    Every schedule that is tried is compiled and run in a process of its own and written to `journal`
    before the next: a run may be interrupted, or killed, at any time, and the same call goes on from there.

    model: as of `sparsegen.compare`, with `example_inputs`, `batch` and `input_shape`; `sparsity` 0 leaves
        the weights as they are.
    trials, hours: the budget, one of the two; a total over all runs with one journal.
    threads: of the kernels; every core by default.
    layers: shell pattern of the names of the layers to tune.
    dense: tune the dense kernels instead, which multiply zeros too.
    target: LLVM's name of a CPU whose code this machine can run.
    search: "evolution", or "random" to compare with.
    seed: of all chance; what is measured still differs from run to run, as times do.
    patience: trials of a workload without a gain of 0.5 % after which it gets no more; 0: no limit.
    priors: other journals to learn from, of other models or machines.
    rpc, key: HOST:PORT of a TVM RPC tracker and the key of its servers, to measure there instead.
    on_progress: called after every trial; on_step: as the model is loaded and pruned, before the first.

    Raises SparsegenError for bad input, a journal that cannot be written or is in use, a full disk, and a
    tracker that cannot be reached.
    """
    from sparsegen.tuner.budget import Budget
    from sparsegen.tuner.run import Settings, run

    settings = Settings(
        budget=Budget(trials, hours),
        journal=Path(journal),
        threads=threads,
        batch=batch,
        layers=layers,
        sparsity=sparsity,
        structure=structure,
        dense=dense,
        target=target,
        input_shape=input_shape,
        search=search,
        seed=seed,
        patience=patience,
        priors=tuple(Path(prior) for prior in priors),
        tracker=rpc,
        key=key,
    )
    return run(model, example_inputs, settings, on_progress=on_progress, on_step=on_step)
