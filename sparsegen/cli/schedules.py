"""`sparsegen schedules`: what tuning found, exported, as a table, and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

schedules = typer.Typer(
    no_args_is_help=True, help="Export and show the schedules that tuning found; `compile` uses them."
)

Journal = Annotated[Path, typer.Argument(help="A journal of trials, by `sparsegen tune`.", metavar="JOURNAL")]


@schedules.command()
def export(
    journal: Journal,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Put them into this file, new or not.",
            show_default="schedules/CPU.json",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Put the best schedules of JOURNAL into a file for every machine of its CPU family.

    They are those of the machine and the versions of its last trial, for all numbers of threads. What
    the file has for other workloads stays; of two for one workload the faster stays, where their times can be
    compared, and otherwise the new one.
    """
    from sparsegen.database.exported import export_last
    from sparsegen.database.journal import read_journal
    from sparsegen.outputs import check_outputs

    check_outputs({"--output": output}, reads={"JOURNAL": journal})
    log = read_journal(journal)
    path, found = export_last(log, output)
    typer.echo(f"{len(found)} new schedule{'' if len(found) == 1 else 's'} in {path}")


@schedules.command()
def show(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A journal, or a file of exported schedules.",
            show_default="what comes with sparsegen",
            metavar="[FILE]",
        ),
    ] = None,
) -> None:
    """Show the best schedules of FILE in a table."""
    from rich.console import Console

    from sparsegen.database.lookup import Database
    from sparsegen.database.table import print_schedules

    database = Database.shipped() if source is None else Database.read(source)
    if database.schedules:
        print_schedules(database.schedules, Console())
    else:
        typer.echo(f"{source or 'this version of sparsegen'} has no tuned schedules")


@schedules.command()
def best(
    source: Annotated[
        Path, typer.Argument(help="A journal, or a file of exported schedules.", metavar="FILE")
    ],
    workload: Annotated[
        str,
        typer.Option(help="Shell pattern of workloads, such as '3x3 conv*, batch 16'.", metavar="GLOB"),
    ] = "*",
) -> None:
    """Print the best schedule of every workload in FILE, complete, a JSON object a line."""
    import json

    from sparsegen.database.lookup import Database
    from sparsegen.database.table import matching

    for tuned in matching(Database.read(source).schedules, workload):
        typer.echo(json.dumps(tuned.as_dict()))
