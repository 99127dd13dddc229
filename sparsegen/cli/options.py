"""What several verbs take: model, image, batch, CPU, pruning, a file of results; shapes as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelName = Annotated[
    str,
    typer.Argument(
        help="A name of pytorchcv's (resnet18), package.module:factory, or a .pt2 file.", metavar="MODEL"
    ),
]
TargetName = Annotated[str, typer.Option(help="LLVM's name of a CPU, such as haswell or znver4.")]
InputShape = Annotated[
    str | None,
    typer.Option(help="Shape of one image, such as 3x224x224.", show_default="the model's", metavar="CxHxW"),
]
Sparsity = Annotated[
    float | None,
    typer.Option(help="Share of weights to prune; 0 leaves them be.", show_default="N:M's, else 0.5"),
]
StructureName = Annotated[
    str,
    typer.Option(help="unstructured, vector:ROWS, block:ROWSxCOLUMNS, column-combined:annealing, 2:4."),
]
Batch = Annotated[
    int | None, typer.Option(help="Images per call.", show_default="16, or the .pt2 file's own")
]
Winograd = Annotated[
    bool,
    typer.Option(
        "--winograd/--no-winograd",
        help="Compute convolutions by Winograd's filtering where that is faster: less exact.",
    ),
]
JsonFile = Annotated[Path | None, typer.Option(help="Write the results to this file.", metavar="FILE")]


def parse_shape(text: str | None, option: str, example: str) -> tuple[int, ...] | None:
    """Read extents of at least 1, joined by `x`.

    None, an option not given, stays None. Raises typer.BadParameter for anything else.
    """
    if text is None:
        return None
    extents = text.split("x")
    if not all(extent.isdecimal() and int(extent) > 0 for extent in extents):
        raise typer.BadParameter(f"{text!r}: give a shape such as {example}", param_hint=option)
    return tuple(int(extent) for extent in extents)
