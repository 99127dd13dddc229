"""The auto-tuner: searches the schedules of a model's layers, measures them, and keeps what it measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparsegen.tuner.options import TuneOptions

if TYPE_CHECKING:
    from torch import Tensor

    from sparsegen.progress import Listener
    from sparsegen.pruning.prunable import Model
    from sparsegen.tuner.view import Progress

__all__ = ["TuneOptions", "tune"]


def tune(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None = None,
    options: TuneOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Listener | None = None,
    **changes: Any,
) -> Progress:
    """Search for faster schedules of a model's layers; `compile(..., database=journal)` uses what is found.

    Every schedule that is tried is compiled and run in a process of its own and written to the journal
    before the next: a run may be interrupted, or killed, at any time, and the same call goes on from there.

    model: as of `sparsegen.compare`, with `example_inputs`.
    options: a record, by default TuneOptions(); `changes` are options by their names, as in
        `tune(model, inputs, journal="a.jsonl", trials=500)`, and go before the record's. `TuneOptions`
        explains every option.
    on_progress: called after every trial; on_step: as the model is loaded and pruned, before the first.

    Raises SparsegenError, by its kind: OptionError for an unknown option or a value that makes no sense,
    JournalError for a journal that cannot be written or is in use and for a full disk, MeasurementError
    for a tracker that cannot be reached and where nothing can be measured, ToolchainError without gcc.
    """
    asked = (options or TuneOptions()).changed(changes)
    asked.check()  # before torch and TVM are imported

    from sparsegen.tuner.run import run

    return run(model, example_inputs, asked, on_progress=on_progress, on_step=on_step)
