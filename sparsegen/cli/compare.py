"""`sparsegen compare`: what sparsity buys over dense, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsegen.cli.options import (
    PICTURE,
    ApproximateName,
    Batch,
    FallbackName,
    InputShape,
    InputType,
    JsonFile,
    ModelName,
    Sparsity,
    StructureName,
    TargetName,
    Winograd,
    parse_approximate,
    parse_inputs,
)
from sparsegen.compare.options import CompareOptions


def compare(
    model: ModelName,
    sparsity: Sparsity = CompareOptions.sparsity,
    structure: StructureName = CompareOptions.structure,
    batch: Batch = CompareOptions.batch,
    threads: Annotated[
        int | None, typer.Option(help="Threads of every engine.", show_default="every core")
    ] = CompareOptions.threads,
    layers: Annotated[
        str, typer.Option(help="Shell pattern of the names of the layers to time.", metavar="GLOB")
    ] = "*",
    no_layers: Annotated[
        bool, typer.Option("--no-layers", help="Time no layers, only the whole network.")
    ] = False,
    network: Annotated[
        bool, typer.Option(help="Time the whole network after its layers.")
    ] = CompareOptions.network,
    csr: Annotated[
        bool,
        typer.Option("--csr", help="Time layers as CSR matrix products over im2col, too: these are slow."),
    ] = CompareOptions.csr,
    samples: Annotated[int, typer.Option(help="Timed calls behind every median.")] = CompareOptions.samples,
    target: TargetName = CompareOptions.target,
    input_shape: InputShape = None,
    dtype: InputType = None,
    fallback: FallbackName = CompareOptions.fallback,
    approximate: ApproximateName = None,
    winograd: Winograd = CompareOptions.winograd,
    database: Annotated[
        Path | None,
        typer.Option(
            help="Journal or exported schedules that go before those that come with sparsegen.",
            metavar="FILE",
        ),
    ] = None,
    no_database: Annotated[
        bool, typer.Option("--no-database", help="Take no tuned schedules, only the default ones.")
    ] = False,
    peers: Annotated[
        str | None,
        typer.Option(
            help="Engines that the network meets too: all, or names such as deepsparse,openvino "
            "(`make peers` installs them).",
            metavar="NAMES",
        ),
    ] = None,
    peers_folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the engines are.", show_default="bench/peers of the checkout", metavar="DIR"
        ),
    ] = None,
    artefact: Annotated[
        Path | None,
        typer.Option(
            help="File of `sparsegen compile`, of MODEL as it is pruned here: the network meets it, too.",
            metavar="FILE",
        ),
    ] = CompareOptions.artefact,
    json: JsonFile = None,
    png: Annotated[
        Path | None, typer.Option(help=f"Draw the times into this file, {PICTURE}.", metavar="FILE")
    ] = None,
) -> None:
    """Prune MODEL, compile it, and time it layer by layer and as a whole against the best dense engines.

    torch in both memory formats, torch.compile and sparsegen's own dense code, Winograd's too, run in turn
    with what MODEL is compiled to, on the same threads; with --peers, so do other engines on the network,
    and with --artefact, MODEL as it was compiled into a file before.
    """
    from rich.console import Console

    from sparsegen.compare import compare as run_comparison
    from sparsegen.compare.output import write_outputs
    from sparsegen.compare.table import print_comparison
    from sparsegen.outputs import check_outputs
    from sparsegen.progress import shown

    if database is not None and no_database:
        raise typer.BadParameter("takes no --database", param_hint="--no-database")
    check_outputs({"--json": json}, {"--png": png}, reads={"MODEL": model, "--database": database})
    options = CompareOptions(
        sparsity=sparsity,
        structure=structure,
        batch=batch,
        threads=threads,
        layers=None if no_layers else layers,
        network=network,
        csr=csr,
        samples=samples,
        target=target,
        fallback=fallback,
        approximate=parse_approximate(approximate),
        **parse_inputs(input_shape, dtype),
        winograd=winograd,
        database=None if no_database else database or CompareOptions.database,
        peers=peers.split(",") if peers else (),
        peers_folder=peers_folder,
        artefact=artefact,
    )
    with shown(Console(stderr=True)) as on_progress:
        comparison = run_comparison(model, options=options, on_progress=on_progress)
    print_comparison(comparison, Console())
    write_outputs(comparison, json=json, png=png)
