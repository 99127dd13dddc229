"""`sparsegen tune`: search for faster schedules, for as long as it takes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsegen.cli.options import (
    Batch,
    InputShape,
    ModelName,
    Sparsity,
    StructureName,
    TargetName,
    parse_shape,
)

if TYPE_CHECKING:
    from sparsegen.database.journal import Log

_INTERRUPTED = 130


def tune(
    model: ModelName,
    trials: Annotated[int | None, typer.Option(help="Schedules to try, in all runs together.")] = None,
    hours: Annotated[float | None, typer.Option(help="Time to spend, in all runs together.")] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="Log of everything that is measured.", show_default="tuning_logs/MODEL-...", metavar="FILE"
        ),
    ] = None,
    sparsity: Sparsity = None,
    structure: StructureName = "unstructured",
    dense: Annotated[bool, typer.Option("--dense", help="Tune the dense kernels instead.")] = False,
    batch: Batch = None,
    threads: Annotated[int | None, typer.Option(help="Threads.", show_default="every core")] = None,
    layers: Annotated[
        str, typer.Option(help="Shell pattern of the names of the layers to tune.", metavar="GLOB")
    ] = "*",
    search: Annotated[str, typer.Option(help="evolution, or random to compare with.")] = "evolution",
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    patience: Annotated[
        int, typer.Option(help="Trials without a gain after which a layer is left; 0: no limit.")
    ] = 128,
    prior: Annotated[
        list[Path] | None,
        typer.Option(help="Another journal to learn from; may be repeated.", metavar="FILE"),
    ] = None,
    rpc: Annotated[
        str | None, typer.Option(help="Measure on the servers of this TVM RPC tracker.", metavar="HOST:PORT")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Key of the RPC servers.")] = None,
    target: TargetName = "native",
    input_shape: InputShape = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Draw best time against trials into this file: when done, or at once without a budget.",
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
    from rich.console import Console

    from sparsegen.compiler import check_threads
    from sparsegen.database.journal import read_journal
    from sparsegen.files import check_writable
    from sparsegen.frontend import own_batch
    from sparsegen.progress import shown
    from sparsegen.target import available_cores
    from sparsegen.tuner import tune as run_tuner
    from sparsegen.tuner.run import default_journal
    from sparsegen.tuner.view import live, print_summary

    console = Console(stderr=True)
    if report is not None:
        check_writable("--report", report)
    compared = [read_journal(path) for path in against or ()]
    threads = check_threads(available_cores() if threads is None else threads) if rpc is None else threads
    path = journal or default_journal(model, batch=own_batch(model, batch), threads=threads, dense=dense)
    if report is not None and trials is None and hours is None:
        _report([read_journal(path), *compared], path, report)
        return
    image = parse_shape(input_shape, "--input-shape", "3x224x224")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with shown(console) as on_step, live(console) as on_progress:
            progress = run_tuner(
                model,
                journal=path,
                trials=trials,
                hours=hours,
                threads=threads,
                batch=batch,
                layers=layers,
                sparsity=sparsity,
                structure=structure,
                dense=dense,
                target=target,
                input_shape=image,
                search=search,
                seed=seed,
                patience=patience,
                priors=prior or (),
                rpc=rpc,
                key=key,
                on_progress=on_progress,
                on_step=on_step,
            )
    except KeyboardInterrupt:
        console.print(f"stopped; everything measured is in {path}: the same command goes on from there")
        raise typer.Exit(_INTERRUPTED) from None
    print_summary(progress, Console())
    if report is not None:
        _report([read_journal(path), *compared], path, report)


def _report(logs: list[Log], path: Path, picture: Path) -> None:
    """Print how fast the searches of some logs were, and draw it."""
    from rich.console import Console

    from sparsegen.tuner.picture import draw
    from sparsegen.tuner.report import curves, print_report

    found = curves([trial for log in logs for trial in log.trials], log=path)
    print_report(found, Console())
    draw(found, picture)


def _interrupt(signum: int, frame: Any) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt
