"""The command's verbs together, and what they share: the version, and errors in one line."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from sparsegen.cli.bench import bench
from sparsegen.cli.cache import cache
from sparsegen.cli.calibrate import calibrate
from sparsegen.cli.compare import compare
from sparsegen.cli.compile import compile
from sparsegen.cli.devices import devices
from sparsegen.cli.doctor import doctor
from sparsegen.cli.inspect import inspect
from sparsegen.cli.place import place
from sparsegen.cli.prune import prune
from sparsegen.cli.rewrite import rewrite
from sparsegen.cli.run import run
from sparsegen.cli.schedules import schedules
from sparsegen.cli.tune import tune
from sparsegen.cli.verify import verify
from sparsegen.errors import SparsegenError


class _Verbs(TyperGroup):
    """Tells of bad input in one line and exits with 1, whichever verb found it; tells of Ctrl-C, too."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            # Every layer that is compiled would repeat what holds for all of them.
            warnings.simplefilter("once", UserWarning)
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                typer.echo("stopped", err=True)
                raise
            except SparsegenError as error:
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(1) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Stand in for `warnings.showwarning`, without the place in the source, which users do not know."""
    typer.echo(f"warning: {message}", err=True)


def _show_log(level: int) -> None:
    """Write what sparsegen logs, from a level on, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("sparsegen")
    logger.addHandler(handler)
    logger.setLevel(level)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sparsegen {metadata.version('sparsegen')}")
        raise typer.Exit


app = typer.Typer(cls=_Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(compare)
app.command()(prune)
app.command()(inspect)
app.command()(tune)
app.command()(compile)
app.command()(run)
app.command()(verify)
app.command()(bench)
app.command()(calibrate)
app.command()(devices)
app.command()(doctor)
app.command()(place)
app.command()(rewrite)
app.add_typer(schedules, name="schedules")
app.add_typer(cache, name="cache")


@app.callback()
def sparsegen(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Tell more of what is done; -vv tells all.")
    ] = 0,
) -> None:
    """Compile pruned PyTorch models to fast code for x86 CPUs."""
    if verbose:
        _show_log(logging.INFO if verbose == 1 else logging.DEBUG)


_INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def main() -> None:
    """Run the `sparsegen` command.

    After Ctrl-C the process does not wait for threads in native code, which compilers cannot be called back
    from: what has to be cleaned up at the end is, and then it is gone.
    """
    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            atexit._run_exitfuncs()
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(_INTERRUPTED)
        raise
