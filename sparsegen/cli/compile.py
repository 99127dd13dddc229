"""`sparsegen compile`: a model in one file, which runs without torch and without a compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsegen.cli.options import (
    STRUCTURES,
    ApproximateName,
    FallbackName,
    InputShape,
    InputType,
    JsonFile,
    ModelName,
    Winograd,
    parse_approximate,
    parse_inputs,
)
from sparsegen.packaging.options import PackageOptions


def compile(
    model: ModelName,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the compiled model to this file.", metavar="FILE")
    ],
    targets: Annotated[
        str,
        typer.Option(
            help="LLVM's names of CPUs, with commas between: haswell,znver4. The best that runs is taken.",
            metavar="CPU,...",
        ),
    ] = ",".join(PackageOptions.targets),
    batches: Annotated[
        str | None,
        typer.Option(
            help="Images per call, with commas between: 1,4,16. Any other number is padded or split.",
            show_default=f"{PackageOptions.default_batch}, or the .pt2 file's own",
            metavar="N,...",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the compiled model.", show_default="every core here")
    ] = PackageOptions.threads,
    structure: Annotated[
        str | None,
        typer.Option(help=f"Prune to this structure first: {STRUCTURES}", show_default="the model as it is"),
    ] = PackageOptions.structure,
    sparsity: Annotated[
        float | None,
        typer.Option(help="Share of weights to prune first.", show_default="none, or the structure's"),
    ] = PackageOptions.sparsity,
    weights: Annotated[
        Path | None, typer.Option(help="State dict to load into MODEL first.", metavar="FILE")
    ] = None,
    input_shape: InputShape = None,
    dtype: InputType = None,
    fallback: FallbackName = PackageOptions.fallback,
    approximate: ApproximateName = None,
    winograd: Winograd = PackageOptions.winograd,
    json: JsonFile = None,
) -> None:
    """Compile MODEL into a file that `sparsegen run`, `sparsegen.load` and C run.

    The file has a variant for every CPU of --targets and every batch of --batches; what they have in common
    is there once. It holds machine code: whoever loads it has to trust where it is from.
    """
    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.outputs import COMPILED, check_outputs
    from sparsegen.packaging.package import package
    from sparsegen.packaging.table import print_package, to_json
    from sparsegen.progress import shown

    check_outputs(
        {"--output": output, "--json": json},
        suffixes={"--output": COMPILED},
        reads={"MODEL": model, "--weights": weights},
    )
    options = PackageOptions(
        targets=tuple(targets.split(",")),
        batches=_numbers(batches),
        threads=threads,
        structure=structure,
        sparsity=sparsity,
        weights=weights,
        fallback=fallback,
        approximate=parse_approximate(approximate),
        winograd=winograd,
        **parse_inputs(input_shape, dtype),
    )
    console = Console(stderr=True)
    with shown(console) as on_progress:
        made = package(model, output, options, on_progress)
    for note in made.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    print_package(made, Console())
    if json is not None:
        write_file(json, to_json(made))


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: give whole numbers with commas between, such as 1,4,16", param_hint="--batches"
        ) from None
