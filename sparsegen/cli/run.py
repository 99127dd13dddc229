"""`sparsegen run`: a compiled model's results, of arrays in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFile = Annotated[Path, typer.Argument(help="A file of `sparsegen compile`.", metavar="FILE")]


def run(
    file: ModelFile,
    input: Annotated[
        list[Path],
        typer.Option(
            "--input",
            "-i",
            help="Array that the model takes, a .npy file, as often as there are inputs; or an .npz file of "
            "them all, in order or by their names.",
            metavar="FILE",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Write the result to this .npy file; several to an .npz one.",
            metavar="FILE",
        ),
    ],
    threads: Annotated[
        int | None, typer.Option(help="Threads of the call.", show_default="as compiled")
    ] = None,
) -> None:
    """Run the model of FILE on arrays. Neither torch nor a compiler is needed, and no pickle is read.

    FILE holds machine code: run only files whose origin you trust.
    """
    from sparsegen.packaging.running import run_file

    for line in run_file(file, input, output, threads=threads):
        typer.echo(line)
