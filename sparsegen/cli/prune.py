"""`sparsegen prune`: make the zeros, and save the pruned model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sparsegen.cli.options import (
    STRUCTURES,
    Batch,
    InputShape,
    InputType,
    JsonFile,
    ModelName,
    parse_inputs,
    parse_shape,
)
from sparsegen.options import ModelOptions

if TYPE_CHECKING:
    from sparsegen.progress import Listener
    from sparsegen.pruning.budget import Ratio
    from sparsegen.pruning.options import PruneOptions
    from sparsegen.pruning.run import Times

MethodName = Literal[
    "unstructured", "unstructured:global", "vector", "kernel", "N:M", "block", "column-combined", "budget",
    "magnitude", "global", "n_m", "column_combine",
]  # fmt: skip
"""Names of methods, and earlier spellings of them."""
StructureOption = Annotated[
    str | None, typer.Option(help=f"What zeros to make, as in compare: {STRUCTURES}", metavar="STRUCTURE")
]


def prune(
    model: ModelName,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Save the pruned model here, as a .pt2 file.", metavar="FILE"),
    ],
    structure: StructureOption = None,
    method: Annotated[
        MethodName | None,
        typer.Option(
            help="A structure without its sizes, for which there are options: unstructured, "
            "unstructured:global, vector, kernel, N:M, block, column-combined; or budget. "
            "Not beside --structure.",
            show_default="unstructured",
            metavar="METHOD",
        ),
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option(help="Share of weights to prune.", show_default="0.5")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="For N:M, weights kept of every M.")] = None,
    m: Annotated[int | None, typer.Option("--m", help="For N:M, consecutive input channels.")] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            help="For vector, kernel and N:M, output channels that keep the same; for budget, ratios of "
            "their filters.",
            show_default="4 for vector and kernel, 1 for N:M, N:M for budget",
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(help="block: output x input channels.", show_default="4x4", metavar="ROWSxCOLUMNS"),
    ] = None,
    group: Annotated[
        int | None, typer.Option(help="column-combined: most columns of a group.", show_default="8")
    ] = None,
    conflicts: Annotated[
        float | None,
        typer.Option(help="column-combined: most conflicts a row, on average.", show_default="0.5"),
    ] = None,
    partition: Annotated[
        Literal["greedy", "annealing"] | None,
        typer.Option(help="column-combined: how columns are grouped.", show_default="greedy"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="column-combined: of the annealing.", show_default="0")
    ] = None,
    budget_ms: Annotated[
        float | None, typer.Option(help="budget: time of the pruned layers together, a batch, in ms.")
    ] = None,
    ratios: Annotated[
        str | None,
        typer.Option(help="budget: ratios to choose from, M:M being dense.", show_default="1:4,2:4,4:4"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="budget: threads to measure on.", show_default="every core")
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            help="Names, or shell patterns of names, of layers that stay dense; may be repeated.",
            show_default="the first convolution and the classifier",
            metavar="GLOB",
        ),
    ] = None,
    linear: Annotated[bool, typer.Option("--linear", help="Prune linear layers too.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="State dict to load into MODEL first.", metavar="FILE")
    ] = None,
    batch: Batch = ModelOptions.batch,
    input_shape: InputShape = None,
    dtype: InputType = None,
    json: JsonFile = None,
) -> None:
    """Prune MODEL and save it, its masks made permanent, as a program that `sparsegen compare` reads.

    Options that belong to one method name it. For fine-tuning prune in Python, with `sparsegen.pruning`.
    """
    from sparsegen.pruning.options import PruneOptions
    from sparsegen.pruning.run import parse_ratios

    options = PruneOptions(
        structure=structure,
        method=method,
        sparsity=sparsity,
        n=n,
        m=m,
        rows=rows,
        shape=parse_shape(block, "--block", "4x4"),
        group=group,
        conflicts=conflicts,
        partition=partition,
        seed=seed,
        budget=None if budget_ms is None else budget_ms / 1e3,
        ratios=None if ratios is None else parse_ratios(ratios),
        threads=threads,
        skip=skip or None,
        linear=linear,
        weights=weights,
        batch=batch,
        **parse_inputs(input_shape, dtype),
    )
    _prune_and_save(model, options, output, json)


def _prune_and_save(model: str, options: PruneOptions, output: Path, json: Path | None) -> None:
    """Load the model and its weights, prune it, save it, and tell what became of it."""
    from rich.console import Console

    from sparsegen.frontend import export, load_model, own_model
    from sparsegen.outputs import PROGRAM, check_outputs
    from sparsegen.progress import shown
    from sparsegen.pruning import finalize
    from sparsegen.pruning.run import Pruning, request_of, save_program, save_report
    from sparsegen.pruning.table import print_pruning
    from sparsegen.pruning.weights import load_weights

    options.check()
    request = request_of(options)
    check_outputs(
        {"--output": output, "--json": json},
        suffixes={"--output": PROGRAM},
        reads={"MODEL": model, "--weights": options.weights},
    )
    console = Console(stderr=True)
    named, inputs = load_model(
        model, batch=options.batch, input_shape=options.input_shape, inputs=options.inputs
    )
    if options.weights is not None:
        for note in load_weights(named, options.weights):
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    network = own_model(named, inputs, in_place=True)

    def measure(
        ratios: Sequence[Ratio], rows: int | None, threads: int | None, on_progress: Listener
    ) -> Times:
        # TVM takes seconds to import.
        from sparsegen.compare.layer_times import measure_ratios

        return measure_ratios(
            network,
            inputs,
            ratios,
            rows=rows,
            threads=threads,
            skip=options.skip,
            linear=options.linear,
            on_progress=on_progress,
        )

    with shown(console) as on_progress:
        layers = request.prune(
            network, skip=options.skip, linear=options.linear, measure=measure, on_progress=on_progress
        )
    save_program(export(finalize(network), inputs), output)
    for note in (note for layer in layers for note in layer.notes):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    pruning = Pruning(model, request.structure, request.options, str(output), layers)
    print_pruning(pruning, Console())
    if json is not None:
        save_report(pruning, json)
