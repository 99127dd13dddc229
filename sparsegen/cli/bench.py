"""`sparsegen bench`: latency, throughput and memory of a model in a file."""

from __future__ import annotations

from typing import Annotated

import typer

from sparsegen.cli.options import JsonFile
from sparsegen.cli.run import ModelFile
from sparsegen.packaging.bench.options import BenchOptions


def bench(
    file: ModelFile,
    instances: Annotated[
        int, typer.Option(help="Processes that run side by side, each on cores of its own.")
    ] = BenchOptions.instances,
    threads: Annotated[
        int | None, typer.Option(help="Threads of each instance.", show_default="as compiled")
    ] = BenchOptions.threads,
    batch: Annotated[
        int | None, typer.Option(help="Rows of a call.", show_default="the file's first batch")
    ] = BenchOptions.batch,
    seconds: Annotated[
        float, typer.Option(help="How long they run, after half a second to warm up.")
    ] = BenchOptions.seconds,
    json: JsonFile = None,
) -> None:
    """Measure the model of FILE: percentiles of latency, throughput and memory, an instance and all together.

    Instances are processes with cores of their own that start together and share code and weights. Neither
    torch nor a compiler is needed. FILE holds machine code: run only files whose origin you trust.
    """
    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.outputs import check_outputs
    from sparsegen.packaging.bench.run import bench_file
    from sparsegen.packaging.bench.table import print_report
    from sparsegen.progress import shown

    check_outputs({"--json": json})
    options = BenchOptions(instances=instances, threads=threads, batch=batch, seconds=seconds)
    with shown(Console(stderr=True)) as on_progress:
        report = bench_file(file, options, on_progress)
    print_report(report, Console())
    if json is not None:
        write_file(json, report.to_json())
