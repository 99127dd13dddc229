"""What a file of a model holds, as a table for a terminal."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.packaging.package import Package


def print_package(package: Package, console: Console) -> None:
    """Print every variant, and lines that sum up."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("target")
    for title in ("batch", "threads", "plan\nKiB", "code\nKiB"):
        table.add_column(title, justify="right", no_wrap=True)
    for variant in package.saved.variants:
        batch = "" if variant.batch is None else str(variant.batch)
        sizes = (f"{size / 1024:,.0f}" for size in (variant.plan_bytes, variant.code_bytes))
        table.add_row(variant.target, batch, str(variant.threads), *sizes)
    console.print(table)
    if package.saved.needs_torch:
        console.print(
            Text("torch computes some operators: sparsegen.load needs torch for this file", style="yellow"),
            soft_wrap=True,
        )
    console.print(Text(totals_line(package), style="bold"), soft_wrap=True)


def totals_line(package: Package) -> str:
    """The sizes of all, and where they went."""
    saved, dense = package.saved, package.dense_bytes
    share = f", {_share(saved.file_bytes / dense)} the dense weights' {_megabytes(dense)}" if dense else ""
    return (
        f"{package.model}: {_megabytes(saved.file_bytes)}{share}; weights of all variants together "
        f"{_megabytes(saved.weight_bytes)}; saved as {saved.path}"
    )


def to_json(package: Package) -> str:
    """A package as JSON."""
    saved = package.saved
    return json.dumps(
        {
            "model": package.model,
            "path": str(saved.path),
            "file_bytes": saved.file_bytes,
            "weight_bytes": saved.weight_bytes,
            "dense_bytes": package.dense_bytes,
            "needs_torch": saved.needs_torch,
            "variants": [asdict(variant) for variant in saved.variants],
        },
        indent=2,
    )


def _share(part: float) -> str:
    """`58% of`; where plans and code outweigh a small model's weights, `10.6 times`."""
    return f"{part:.0%} of" if part <= 1 else f"{part:.1f} times"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
