"""`sparsegen inspect`: what sparsity should buy, layer by layer, before anything is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsegen.cli.options import (
    ApproximateName,
    Batch,
    FallbackName,
    InputShape,
    InputType,
    JsonFile,
    ModelName,
    TargetName,
    Winograd,
    parse_approximate,
    parse_inputs,
)
from sparsegen.inspection.options import InspectOptions


def inspect(
    model: ModelName,
    batch: Batch = InspectOptions.batch,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the compiled model.", show_default="every core")
    ] = InspectOptions.threads,
    target: TargetName = InspectOptions.target,
    input_shape: InputShape = None,
    dtype: InputType = None,
    fallback: FallbackName = InspectOptions.fallback,
    approximate: ApproximateName = None,
    winograd: Winograd = InspectOptions.winograd,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Estimate seconds for the machine of this file, by `sparsegen calibrate`.", metavar="FILE"
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Tell what became of MODEL's weights, layer by layer: structure, format, size, expected speed-up.

    The speed-ups are estimates, and where sparse will not pay it says so; `sparsegen compare` measures.
    """
    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.inspection import inspect as run_inspection
    from sparsegen.inspection.table import print_inspection
    from sparsegen.outputs import check_outputs

    check_outputs({"--json": json}, reads={"MODEL": model, "--calibration": calibration})
    options = InspectOptions(
        batch=batch,
        threads=threads,
        target=target,
        fallback=fallback,
        approximate=parse_approximate(approximate),
        **parse_inputs(input_shape, dtype),
        winograd=winograd,
        calibration=calibration,
    )
    inspection = run_inspection(model, options=options)
    print_inspection(inspection, Console())
    if json is not None:
        write_file(json, inspection.to_json())
