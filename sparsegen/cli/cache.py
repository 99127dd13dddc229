"""`sparsegen cache`: the models that were compiled before, shown and given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

cache = typer.Typer(no_args_is_help=True, help="Show and clear the models that `compile` keeps.")

Folder = Annotated[
    str | None,
    typer.Option(
        "--cache-dir",
        help="The folder, as `compile` was given it.",
        show_default="SPARSEGEN_CACHE, or ~/.cache/sparsegen",
        metavar="FOLDER",
    ),
]


def _folder(cache_dir: str | None) -> Path | None:
    from sparsegen.cache.folder import given_folder

    return None if cache_dir is None else given_folder(cache_dir)


@cache.command()
def show(cache_dir: Folder = None) -> None:
    """Show the models that are kept, the one used last first, and the bytes of all."""
    from datetime import datetime

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from sparsegen.cache.models import ModelCache
    from sparsegen.wording import counted

    models = ModelCache(_folder(cache_dir), make_folder=False)
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

    models = ModelCache(_folder(cache_dir), make_folder=False)
    gone = models.clear()
    size = sum(each.bytes for each in gone)
    typer.echo(f"{counted(len(gone), 'model')}, {size / 1e6:,.1f} MB, removed from {models.folder}")
