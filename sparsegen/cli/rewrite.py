"""`sparsegen rewrite`: operators that a device lacks, replaced by what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsegen.cli.options import (
    PICTURE,
    InputShape,
    InputType,
    JsonFile,
    ModelName,
    SingleBatch,
    parse_inputs,
)
from sparsegen.errors import RewritingError, warn
from sparsegen.hetero.rewriting.options import MAX_ERROR, RewriteOptions


def rewrite(
    model: ModelName,
    device: Annotated[
        str,
        typer.Option(help="A table's name, see `sparsegen devices`, or a file with one.", metavar="TABLE"),
    ],
    host: Annotated[
        str,
        typer.Option(help="The table of what computes the rest, for the predicted time.", metavar="TABLE"),
    ] = RewriteOptions.host,
    max_error: Annotated[
        float | None,
        typer.Option(
            help="What each replaced operator's result may be off by; 0: exact rules alone.",
            show_default=f"{MAX_ERROR:g}",
        ),
    ] = RewriteOptions.max_error,
    end_to_end: Annotated[
        float | None,
        typer.Option(
            help="In its place: what the model's results may be off by on the calibration inputs.",
            show_default=False,
        ),
    ] = RewriteOptions.end_to_end,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Inputs that the model will see, as .npy or .npz.", metavar="FILE"),
    ] = RewriteOptions.calibration,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the rewritten model as a .pt2 file.", metavar="FILE"),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write it also where operators are left that the device lacks.")
    ] = False,
    batch: SingleBatch = RewriteOptions.batch,
    input_shape: InputShape = None,
    dtype: InputType = None,
    json: JsonFile = None,
    png: Annotated[
        Path | None,
        typer.Option(
            help=f"Draw functions, approximations and errors to this file, {PICTURE}.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Replace the operators of MODEL that a device lacks by what it has, exactly or to within an error.

    Fails where some are left, but for --partial: nothing is written then but the report.
    """
    from json import dumps

    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.hetero.rewriting import report
    from sparsegen.hetero.rewriting.run import rewrite_model
    from sparsegen.outputs import PROGRAM, check_outputs
    from sparsegen.progress import shown
    from sparsegen.rewriting.files import save_rewritten
    from sparsegen.rewriting.picture import save_approximations
    from sparsegen.wording import counted

    check_outputs(
        {"--output": output, "--json": json},
        {"--png": png},
        suffixes={"--output": PROGRAM},
        reads={"MODEL": model, "--calibration": calibration, "--device": Path(device), "--host": Path(host)},
    )
    options = RewriteOptions(
        batch=batch,
        **parse_inputs(input_shape, dtype),
        device=device,
        host=host,
        max_error=max_error,
        end_to_end=end_to_end,
        calibration=calibration,
    )
    with shown(Console(stderr=True)) as listen:
        found = rewrite_model(model, options, listen)
    report.print_rewritten(found, Console())
    if json is not None:
        write_file(json, dumps(report.record(found), indent=1) + "\n")
    if png is not None:
        not_drawn = save_approximations(found.rewritten, png)
        if note := report.not_drawn(not_drawn, found.rewritten):
            warn(f"{png}: {note}")
    left = found.rewritten.unsupported
    if left and not partial:
        names = ", ".join(sorted({each.operator for each in left}))
        raise RewritingError(
            f"{counted(len(left), 'operator')} left that {device} does not run: {names}; calibration inputs "
            "and a larger --max-error let more be replaced, and --partial writes the model as it is"
        )
    if output is not None:
        save_rewritten(found.rewritten.graph, output, device)
