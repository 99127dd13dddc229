"""Tuning a model: everything between what the user gives and the session."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sparsegen.compiler import check_threads
from sparsegen.database.journal import Journal, Log, read_journal
from sparsegen.database.lookup import Database
from sparsegen.errors import OptionError
from sparsegen.noise import warn_of_noise
from sparsegen.preparation import PREPARING_STEPS, prepare
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import parse_structure
from sparsegen.target import parse_target
from sparsegen.tuner.budget import Budget
from sparsegen.tuner.jobs import Task, find_tasks
from sparsegen.tuner.measure.local import LocalMeasurer
from sparsegen.tuner.measure.measurement import Measurer
from sparsegen.tuner.measure.remote import RemoteMeasurer
from sparsegen.tuner.search import SEARCHES
from sparsegen.tuner.session import Options, Session
from sparsegen.tuner.view import Progress

LOGS = Path("tuning_logs")
"""Where journals go that were given no path."""


@dataclass(frozen=True)
class Settings:
    """The options of a tuning run, as `sparsegen.tune` explains them."""

    budget: Budget
    journal: Path
    threads: int | None
    batch: int | None
    layers: str
    sparsity: float | None
    structure: str
    dense: bool
    target: str
    input_shape: tuple[int, ...] | None
    search: str
    seed: int
    patience: int
    priors: tuple[Path, ...]
    tracker: str | None
    key: str | None

    def check(self) -> None:
        """Raise SparsegenError for what no model and no machine could make sense of."""
        for option, value, least in (
            ("batch", self.batch, 1),
            ("threads", self.threads, 1),
            ("patience", self.patience, 0),
        ):
            if value is not None and value < least:
                raise OptionError(f"{option} is {value}: give at least {least}")
        if self.search not in SEARCHES:
            raise OptionError(f"search is {self.search!r}: give one of {', '.join(SEARCHES)}")
        if (self.tracker is None) != (self.key is None):
            raise OptionError(
                "measuring on other machines needs both the tracker's HOST:PORT (rpc) and the servers' key"
            )
        if self.tracker is not None and self.target != "native":
            raise OptionError("the servers tell their CPU themselves: leave out the target")


def default_journal(model: str, *, batch: int, threads: int | None, dense: bool) -> Path:
    """The journal of a model's runs in the current folder: one for each batch and number of threads."""
    stem = Path(model).stem if model.endswith(".pt2") else model.replace(":", ".")
    LOGS.mkdir(exist_ok=True)
    return LOGS / f"{stem}-batch{batch}-threads{threads or 1}{'-dense' if dense else ''}.jsonl"


def run(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None,
    settings: Settings,
    *,
    on_progress: Callable[[Progress], None] | None,
    on_step: Listener | None,
) -> Progress:
    """Run the tuner; see `sparsegen.tune`."""
    settings.check()
    structure = parse_structure(settings.structure, sparsity=settings.sparsity)
    priors = [read_journal(path) for path in settings.priors]
    steps = Steps(on_step, total=PREPARING_STEPS)
    with Journal.open(settings.journal) as journal:
        prepared = prepare(
            model,
            example_inputs,
            structure=structure,
            batch=settings.batch,
            input_shape=settings.input_shape,
            steps=steps,
        )
        with closing(_measurer(settings)) as measurer:
            tasks = _matching(
                find_tasks(
                    prepared.graph,
                    measurer.target,
                    threads=measurer.setting.threads,
                    dense=settings.dense,
                ),
                settings.layers,
            )
            if settings.tracker is None:
                warn_of_noise()
            session = _session(tasks, measurer, journal, settings, priors, on_progress)
            session.run()
            return session.progress()


def _session(
    tasks: Sequence[Task],
    measurer: Measurer,
    journal: Journal,
    settings: Settings,
    priors: Sequence[Log],
    listener: Callable[[Progress], None] | None,
) -> Session:
    return Session(
        tasks,
        measurer=measurer,
        journal=journal,
        budget=settings.budget,
        options=Options(SEARCHES[settings.search], seed=settings.seed, patience=settings.patience),
        priors=priors,
        database=Database.shipped(),
        listener=listener,
    )


def _measurer(settings: Settings) -> Measurer:
    if settings.tracker is not None and settings.key is not None:
        return RemoteMeasurer.connect(settings.tracker, settings.key, threads=settings.threads or 1)
    target = parse_target(settings.target)
    return LocalMeasurer(target, check_threads(settings.threads or target.cores))


def _matching(tasks: Sequence[Task], pattern: str) -> list[Task]:
    """The tasks with a layer whose name matches a shell pattern."""
    chosen = [task for task in tasks if any(fnmatch.fnmatchcase(name, pattern) for name in task.layers)]
    if not chosen:
        names = ", ".join(name for task in tasks for name in task.layers)
        raise OptionError(f"no layer that can be tuned matches {pattern!r}; there are: {names or 'none'}")
    return chosen
