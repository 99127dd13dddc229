"""Tuning a model: everything between what the user gives and the session."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sparsegen.compiler import check_threads
from sparsegen.cpuinfo import available_cores
from sparsegen.database.journal import Journal, read_journal
from sparsegen.database.lookup import Database
from sparsegen.errors import JournalError, OptionError
from sparsegen.frontend import own_batch
from sparsegen.noise import warn_of_noise
from sparsegen.preparation import PREPARING_STEPS, prepare
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import parse_structure
from sparsegen.target import parse_target
from sparsegen.tuner.jobs import Task, find_tasks
from sparsegen.tuner.measure.local import LocalMeasurer
from sparsegen.tuner.measure.measurement import Measurer
from sparsegen.tuner.measure.remote import RemoteMeasurer
from sparsegen.tuner.options import TuneOptions
from sparsegen.tuner.session import Session
from sparsegen.tuner.view import Progress

LOGS = Path("tuning_logs")
"""Where journals go that were given no path."""


def completed(options: TuneOptions, model: str | Model) -> TuneOptions:
    """The options with the threads and the journal that a run would take where they are left out.

    Raises OptionError without a journal for a model that has no name, JournalError where the folder of the
    default one cannot be made.
    """
    if options.rpc is not None:
        options = replace(options, threads=options.threads or 1)
    else:
        cores = available_cores() if options.threads is None else options.threads
        options = replace(options, threads=check_threads(cores))
    if options.journal is not None:
        return options
    if not isinstance(model, str):
        raise OptionError("journal: give a file to write to; only models given by their names have a default")
    return replace(options, journal=_default_journal(model, options))


def _default_journal(model: str, options: TuneOptions) -> Path:
    """The journal of a model's runs in the current folder: one for each batch and number of threads."""
    stem = Path(model).stem if model.endswith(".pt2") else model.replace(":", ".")
    try:
        LOGS.mkdir(exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"cannot make the folder {LOGS.absolute()} for the journal: {error.strerror}; give the path of a "
            "journal elsewhere"
        ) from error
    dense = "-dense" if options.dense else ""
    batch = own_batch(model, options.batch)
    return LOGS / f"{stem}-batch{batch}-threads{options.threads}{dense}.jsonl"


def run(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None,
    options: TuneOptions,
    *,
    on_progress: Callable[[Progress], None] | None,
    on_step: Listener | None,
) -> Progress:
    """Run the tuner with options that were checked; see `sparsegen.tune`."""
    options = completed(options, model)
    assert options.journal is not None
    structure = parse_structure(options.structure, sparsity=options.sparsity)
    priors = [read_journal(Path(path)) for path in options.priors]
    steps = Steps(on_step, total=PREPARING_STEPS)
    with Journal.open(options.journal) as journal:
        prepared = prepare(
            model,
            example_inputs,
            options,
            structure=structure,
            steps=steps,
        )
        with closing(_measurer(options)) as measurer:
            tasks = find_tasks(
                prepared.graph, measurer.target, threads=measurer.setting.threads, dense=options.dense
            )
            session = Session(
                _matching(tasks, options.layers),
                measurer=measurer,
                journal=journal,
                options=options,
                priors=priors,
                database=Database.shipped(),
                listener=on_progress,
            )
            if options.rpc is None:
                warn_of_noise()
            session.run()
            return session.progress()


def _measurer(options: TuneOptions) -> Measurer:
    assert options.threads is not None
    if options.rpc is not None and options.key is not None:
        return RemoteMeasurer.connect(options.rpc, options.key, threads=options.threads)
    return LocalMeasurer(parse_target(options.target), options.threads)


def _matching(tasks: Sequence[Task], pattern: str) -> list[Task]:
    """The tasks with a layer whose name matches a shell pattern."""
    chosen = [task for task in tasks if any(fnmatch.fnmatchcase(name, pattern) for name in task.layers)]
    if not chosen:
        names = ", ".join(name for task in tasks for name in task.layers)
        raise OptionError(f"no layer that can be tuned matches {pattern!r}; there are: {names or 'none'}")
    return chosen
