"""`sparsegen inspect`: what sparsity should buy, layer by layer, before anything is compiled."""

from __future__ import annotations

from typing import Annotated

import typer

from sparsegen.cli.options import Batch, InputShape, JsonFile, ModelName, TargetName, Winograd, parse_shape


def inspect(
    model: ModelName,
    batch: Batch = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the compiled model.", show_default="every core")
    ] = None,
    target: TargetName = "native",
    input_shape: InputShape = None,
    winograd: Winograd = True,
    json: JsonFile = None,
) -> None:
    """Tell what became of MODEL's weights, layer by layer: structure, format, size, expected speed-up.

    The speed-ups are estimates, and where sparse will not pay it says so; `sparsegen compare` measures.
    """
    from rich.console import Console

    from sparsegen.files import check_writable, writing
    from sparsegen.inspection import inspect as run_inspection
    from sparsegen.inspection.table import print_inspection

    if json is not None:
        check_writable("--json", json)
    inspection = run_inspection(
        model,
        batch=batch,
        threads=threads,
        target=target,
        input_shape=parse_shape(input_shape, "--input-shape", "3x224x224"),
        winograd=winograd,
    )
    print_inspection(inspection, Console())
    if json is not None:
        with writing(json):
            json.write_text(inspection.to_json())
