"""An inspection as a table for a terminal, and lines that sum up and say where sparse will not pay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from sparsegen.formats import SHORT_NAMES
from sparsegen.formats.detect import FULL
from sparsegen.inspection.report import Inspection, LayerInspection
from sparsegen.pruning.prunable import names_of
from sparsegen.wording import dimensions, operators_phrase, short_names, threads_phrase

_WIDE, _WIDER, _WIDEST = 110, 150, 200
"""Terminal columns from which the table shows sizes, reasons, and everything."""


@dataclass(frozen=True)
class _Column:
    """One column of the table, shown by terminals at least `terminal` and less than `below` wide.

    An `elastic` column is cut short where the others would not fit.
    """

    title: str
    cell: Callable[[LayerInspection], str]
    terminal: int = 0
    below: float = math.inf
    left: bool = False
    elastic: bool = False

    def text(self, layer: LayerInspection) -> Text:
        """The cell of a layer, on one line, coloured where sparse does not pay."""
        style = "" if layer.pays else "yellow"
        return Text(self.cell(layer), style=style, no_wrap=True, overflow="ellipsis")


_COLUMNS = (
    _Column("weights", lambda layer: dimensions(layer.weight_shape)),
    _Column("kept", lambda layer: f"{layer.density:.0%}"),
    _Column("structure", lambda layer: layer.structure.partition(",")[0], below=_WIDEST, left=True),
    _Column("structure", lambda layer: layer.structure, _WIDEST, left=True),
    _Column("format", lambda layer: SHORT_NAMES.get(layer.format, layer.format), below=_WIDE, left=True),
    _Column("format", lambda layer: layer.format, _WIDE, left=True),
    _Column("panel\nrows", lambda layer: _rows(layer), _WIDE),
    _Column("packed\nKiB", lambda layer: _kib(layer.packed_bytes), _WIDE),
    _Column("dense\nKiB", lambda layer: _kib(layer.dense_bytes), _WIDEST),
    _Column("of\ndense", lambda layer: f"{layer.packed_bytes / layer.dense_bytes:.0%}", _WIDE),
    _Column("mul-adds\nleft, M", lambda layer: _millions(layer.multiply_adds_left), _WIDE),
    _Column("of\nM", lambda layer: _millions(layer.multiply_adds), _WIDEST),
    _Column("expected\nspeed-up", lambda layer: _speedup(layer)),
    _Column("why", lambda layer: layer.why, _WIDER, left=True, elastic=True),
)


def print_inspection(inspection: Inspection, console: Console) -> None:
    """Print the table and its lines to `console`, at the width that it has."""
    console.print(_layers_table(inspection, console.width))
    if console.width >= _WIDE and any(layer.schedule.get("permuted") for layer in inspection.layers):
        console.print(Text("p: permuted, so that rows that keep the same columns share a panel"))
    if inspection.torch_operators:
        told = operators_phrase(inspection.torch_operators)
        console.print(
            Text(f"torch itself computes {told}; `sparsegen compare` tells their share", style="yellow")
        )
    for line in approximation_lines(inspection):
        console.print(Text(line))
    console.print(Text(estimate_line(inspection)))
    console.print(Text(totals_line(inspection), style="bold"))
    console.print(Text(verdict_line(inspection), style="yellow" if _unpaid(inspection) else "green"))


def approximation_lines(inspection: Inspection) -> Iterator[str]:
    """What becomes of each function that may be approximated."""
    for told, count in inspection.approximated.items():
        times = f"{told.function} ({count} times)" if count > 1 else told.function
        if told.knots:
            yield f"{times}: piecewise linear, {told.knots} knots, error at most {told.error:.2g}"
        else:
            yield f"{times} stays exact: {told.why}"


def estimate_line(inspection: Inspection) -> str:
    """What the expected speed-ups are, and what they are not."""
    target = inspection.target
    return (
        "expected speed-up: over sparsegen's own dense kernels, by an analytic model of both on "
        f"{target.name} ({target.isa}), batch {inspection.batch}, {threads_phrase(inspection.threads)}; "
        "an estimate, nothing was measured: `sparsegen compare --sparsity 0` measures"
    )


def totals_line(inspection: Inspection) -> str:
    """All layers together."""
    totals, count = inspection.totals, len(inspection.layers)
    line = (
        f"{inspection.model}: {totals.kept:,} of {totals.weights:,} weights kept "
        f"({totals.kept / totals.weights:.0%}), packed in {_kib(totals.packed_bytes)} KiB, "
        f"{totals.packed_bytes / totals.dense_bytes:.0%} of dense; {_millions(totals.multiply_adds_left)} "
        f"of {_millions(totals.multiply_adds)} M multiply-adds left; "
    )
    if totals.expected_speedup is None:
        return f"{line}no layer has an estimate"
    line += f"expected {totals.expected_speedup:.2f}x "
    if totals.estimated_layers == count:
        return f"{line}for {_layers(count)} together"
    # Short of all, whatever rounding would say.
    share = min(0.999, totals.estimated_multiply_adds / totals.multiply_adds)
    return (
        f"{line}for {totals.estimated_layers} of {_layers(count)} together, {share:.1%} of the "
        "multiply-adds: the others have no estimate"
    )


def verdict_line(inspection: Inspection) -> str:
    """Where sparse will not pay, and why."""
    unpaid, count = _unpaid(inspection), len(inspection.layers)
    if not unpaid:
        return f"sparse should pay in {'all ' if count > 1 else ''}{_layers(count)}"
    if all(layer.density > FULL for layer in inspection.layers):
        return "! sparse will not pay: no layer was pruned; `sparsegen prune` makes zeros"
    by_reason: dict[str, list[str]] = {}
    for name, layer in unpaid.items():
        by_reason.setdefault(layer.why, []).append(name)
    listed = "; ".join(f"{names_of(names)} ({why})" for why, names in by_reason.items())
    return f"! sparse will not pay in {len(unpaid)} of {_layers(count)}: {listed}"


def _unpaid(inspection: Inspection) -> dict[str, LayerInspection]:
    """Layers where sparse does not pay, by their short names."""
    names = short_names([layer.name for layer in inspection.layers])
    return {name: layer for name, layer in zip(names, inspection.layers, strict=True) if not layer.pays}


def _layers_table(inspection: Inspection, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    # Only names and reasons give way where the terminal is too narrow: numbers stay whole.
    names = short_names([layer.name for layer in inspection.layers])
    table.add_column("layer", min_width=min(18, max(map(len, names))))
    columns = [column for column in _COLUMNS if column.terminal <= width < column.below]
    for column in columns:
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(column.title, justify=justify, no_wrap=not column.elastic)
    for name, layer in zip(names, inspection.layers, strict=True):
        label = Text(name, no_wrap=True, overflow="ellipsis")
        table.add_row(label, *(column.text(layer) for column in columns))
    return table


def _rows(layer: LayerInspection) -> str:
    """Rows of a panel, of those that have panels; `p` marks permuted ones."""
    if layer.statistics is None:
        return ""
    return f"{layer.schedule.get('rows', '')}{'p' if layer.schedule.get('permuted') else ''}"


def _kib(size: int) -> str:
    return _whole_or_tenths(size / 1024)


def _millions(count: int) -> str:
    return _whole_or_tenths(count / 1e6)


def _whole_or_tenths(value: float) -> str:
    """A whole number, or tenths where it has one digit."""
    return f"{value:,.{0 if value >= 9.95 else 1}f}"


def _speedup(layer: LayerInspection) -> str:
    """The expected speed-up, marked where sparse does not pay."""
    speedup = "none" if layer.expected_speedup is None else f"{layer.expected_speedup:.2f}x"
    return f"{speedup} {' ' if layer.pays else '!'}"


def _layers(count: int) -> str:
    return f"{count} layer{'s' if count > 1 else ''}"
