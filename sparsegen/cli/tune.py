"""`sparsegen tune`: search for faster schedules, for as long as it takes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsegen.cli.options import (
    PICTURE,
    Batch,
    InputShape,
    InputType,
    ModelName,
    Sparsity,
    StructureName,
    TargetName,
    parse_inputs,
)
from sparsegen.outputs import JOURNAL, check_outputs
from sparsegen.tuner.options import TuneOptions

if TYPE_CHECKING:
    from sparsegen.database.journal import Log

_INTERRUPTED = 130


def tune(
    model: ModelName,
    trials: Annotated[int | None, typer.Option(help=TuneOptions.words("trials"))] = TuneOptions.trials,
    hours: Annotated[float | None, typer.Option(help=TuneOptions.words("hours"))] = TuneOptions.hours,
    journal: Annotated[
        Path | None,
        typer.Option(help=TuneOptions.words("journal"), show_default="tuning_logs/MODEL-...", metavar="FILE"),
    ] = None,
    sparsity: Sparsity = None,
    structure: StructureName = TuneOptions.structure,
    dense: Annotated[bool, typer.Option("--dense", help=TuneOptions.words("dense"))] = TuneOptions.dense,
    batch: Batch = TuneOptions.batch,
    threads: Annotated[int | None, typer.Option(help="Threads.", show_default="every core")] = None,
    layers: Annotated[
        str, typer.Option(help=TuneOptions.words("layers"), metavar="GLOB")
    ] = TuneOptions.layers,
    search: Annotated[str, typer.Option(help=TuneOptions.words("search"))] = TuneOptions.search,
    seed: Annotated[int, typer.Option(help=TuneOptions.words("seed"))] = TuneOptions.seed,
    patience: Annotated[int, typer.Option(help=TuneOptions.words("patience"))] = TuneOptions.patience,
    prior: Annotated[
        list[Path] | None, typer.Option(help=TuneOptions.words("priors"), metavar="FILE")
    ] = None,
    rpc: Annotated[
        str | None, typer.Option(help=TuneOptions.words("rpc"), metavar="HOST:PORT")
    ] = TuneOptions.rpc,
    key: Annotated[str | None, typer.Option(help=TuneOptions.words("key"))] = TuneOptions.key,
    target: TargetName = TuneOptions.target,
    input_shape: InputShape = None,
    dtype: InputType = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help=f"Draw best time against trials into this file, {PICTURE}: when done, or at once without a "
            "budget.",
            metavar="FILE",
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Journal of a random search to draw beside it; may be repeated.", metavar="FILE"),
    ] = None,
) -> None:
    """Try schedules for the layers of MODEL and keep the fastest.

    Stop it at any time: the same command goes on where it stood. `sparsegen compare --database` and
    `sparsegen.compile(..., database=)` take the journal; `sparsegen schedules` shows and exports it.
    """
    options = TuneOptions(
        trials=trials,
        hours=hours,
        journal=journal,
        sparsity=sparsity,
        structure=structure,
        dense=dense,
        batch=batch,
        threads=threads,
        layers=layers,
        search=search,
        seed=seed,
        patience=patience,
        priors=tuple(prior or ()),
        rpc=rpc,
        key=key,
        target=target,
        **parse_inputs(input_shape, dtype),
    )
    check_outputs(
        {"--journal": journal}, {"--report": report}, suffixes={"--journal": JOURNAL}, reads={"MODEL": model}
    )
    if report is None or trials is not None or hours is not None:
        options.check()
    with _ended_at_once():
        from sparsegen.database.journal import read_journal
        from sparsegen.tuner.run import completed

    compared = [read_journal(path) for path in against or ()]
    options = completed(options, model)
    assert options.journal is not None
    path = Path(options.journal)
    if report is None or trials is not None or hours is not None:
        _run(model, options)
    if report is not None:
        _report([read_journal(path), *compared], path, report)


def _run(model: str, options: TuneOptions) -> None:
    """Tune, and show how it goes and what was gained."""
    from rich.console import Console

    from sparsegen.progress import shown
    from sparsegen.tuner import tune as run_tuner
    from sparsegen.tuner.view import live, print_summary

    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with shown(console) as on_step, live(console) as on_progress:
            progress = run_tuner(model, options=options, on_progress=on_progress, on_step=on_step)
    except KeyboardInterrupt:
        console.print(
            f"stopped; everything measured is in {options.journal}: the same command goes on from there"
        )
        raise typer.Exit(_INTERRUPTED) from None
    print_summary(progress, Console())


def _report(logs: list[Log], path: Path, picture: Path) -> None:
    """Print how fast the searches of some logs were, and draw it."""
    from rich.console import Console

    from sparsegen.outputs import save_picture
    from sparsegen.tuner.picture import draw
    from sparsegen.tuner.report import curves, print_report

    found = curves([trial for log in logs for trial in log.trials], log=path)
    print_report(found, Console())
    save_picture(draw(found), picture)


def _interrupt(signum: int, frame: Any) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """Have Ctrl-C end the process at once: importing torch, cut short by an exception, fails in odd ways."""

    def end(signum: int, frame: Any) -> None:
        os.write(2, b"stopped before anything was measured\n")
        os._exit(_INTERRUPTED)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
