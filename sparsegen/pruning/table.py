"""What was pruned, as a table for a terminal."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.pruning.masks import PrunedLayer
from sparsegen.pruning.run import Pruning
from sparsegen.wording import dimensions, milliseconds, short_names


def print_pruning(pruning: Pruning, console: Console) -> None:
    """Print every pruned layer and a line of totals."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("layer", overflow="fold")
    for title in ("weights", "sparsity", "kept L1"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("details", no_wrap=True)
    names = short_names([layer.name for layer in pruning.layers])
    for name, layer in zip(names, pruning.layers, strict=True):
        shares = (f"{layer.sparsity:.1%}", f"{layer.kept_l1:.1%}")
        table.add_row(name, dimensions(layer.shape), *shares, _details(layer))
    console.print(table)
    console.print(Text(totals_line(pruning), style="bold"), soft_wrap=True)


def totals_line(pruning: Pruning) -> str:
    """All layers together, and where the program went."""
    count = len(pruning.layers)
    seconds = math.fsum(layer.detail.get("seconds", 0) for layer in pruning.layers)
    time = f", {milliseconds(seconds * 1e3)} ms" if seconds else ""
    budget = pruning.options.get("budget")
    within = "" if budget is None else f" within {milliseconds(budget * 1e3)} ms"
    return (
        f"{pruning.model}, {pruning.structure}{within}: {count} layer{'s' if count > 1 else ''}, "
        f"{pruning.weights:,} weights, {pruning.sparsity:.1%} zeros, {pruning.kept_l1:.1%} of the L1 norm "
        f"kept in the mean{time}; saved as {pruning.output}"
    )


def _details(layer: PrunedLayer) -> str:
    """What the method has to tell; N and M stand in the structure's name, or are the sparsity."""
    own = [] if layer.structure is None else [layer.structure]
    told = {name: value for name, value in layer.detail.items() if name not in ("n", "m")}
    return ", ".join([*own, *(_phrase(name, value) for name, value in told.items())])


def _phrase(name: str, value: float) -> str:
    if name == "seconds":
        return f"{milliseconds(value * 1e3)} ms"
    return f"{value:.0%} packed" if name == "packing_density" else f"{name} {value:g}"
