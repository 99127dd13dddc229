"""`sparsegen cache`: the models that were compiled before, shown and given up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

cache = typer.Typer(no_args_is_help=True, help="Show and clear the models that `compile` keeps.")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        help="The folder, as `compile` was given it.",
        show_default="SPARSEGEN_CACHE, or ~/.cache/sparsegen",
        metavar="FOLDER",
    ),
]


@cache.command()
def show(cache_dir: Folder = None) -> None:
    """Show the models that are kept, the one used last first, and the bytes of all."""
    from datetime import datetime

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from sparsegen.cache.models import ModelCache
    from sparsegen.wording import counted

    models = ModelCache(cache_dir)
    kept = sorted(models.kept(), key=lambda each: each.used, reverse=True)
    table = Table(box=box.SIMPLE, show_edge=False)
    table.add_column("model")
    table.add_column("MB", justify="right")
    table.add_column("used last")
    for each in kept:
        used = datetime.fromtimestamp(each.used).isoformat(" ", "minutes")
        table.add_row(each.path.stem[:16], f"{each.bytes / 1e6:,.1f}", used)
    console = Console()
    if kept:
        console.print(table)
    total = sum(each.bytes for each in kept)
    most = f"{models.most_bytes / 1e6:,.0f}"
    told = f"{counted(len(kept), 'model')} in {models.folder}: {total / 1e6:,.1f} MB of at most {most}"
    console.print(told, highlight=False, soft_wrap=True)


@cache.command()
def clear(cache_dir: Folder = None) -> None:
    """Give up all models that are kept; measured costs stay."""
    from sparsegen.cache.models import ModelCache
    from sparsegen.wording import counted

    models = ModelCache(cache_dir)
    gone = models.clear()
    size = sum(each.bytes for each in gone)
    typer.echo(f"{counted(len(gone), 'model')}, {size / 1e6:,.1f} MB, removed from {models.folder}")
