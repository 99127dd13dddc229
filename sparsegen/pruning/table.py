"""What was pruned, as a table for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.pruning.masks import PrunedLayer
from sparsegen.pruning.run import Pruning


def print_pruning(pruning: Pruning, console: Console) -> None:
    """Print every pruned layer, by the name that `skip` takes, and a line of totals."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("layer", overflow="fold")
    for title in ("weights", "sparsity", "kept L1"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("details", overflow="fold")
    for layer in pruning.layers:
        shape = "x".join(map(str, layer.shape))
        table.add_row(layer.name, shape, f"{layer.sparsity:.1%}", f"{layer.kept_l1:.1%}", _details(layer))
    console.print(table)
    console.print(Text(totals_line(pruning), style="bold"), soft_wrap=True)


def totals_line(pruning: Pruning) -> str:
    """All layers together, and where the program went."""
    count = len(pruning.layers)
    seconds = sum(layer.detail.get("seconds", 0) for layer in pruning.layers)
    return (
        f"{pruning.model}, {pruning.method}: {count} layer{'s' if count > 1 else ''}, "
        f"{pruning.weights:,} weights, {pruning.sparsity:.1%} zeros, {pruning.kept_l1:.1%} of the L1 norm "
        f"kept in the mean{f', {seconds * 1e3:.3g} ms' if seconds else ''}; saved as {pruning.output}"
    )


def _details(layer: PrunedLayer) -> str:
    return ", ".join(
        f"{value * 1e3:.3g} ms" if name == "seconds" else f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in layer.detail.items()
    )
