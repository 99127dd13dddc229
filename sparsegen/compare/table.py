"""A comparison as tables for a terminal: the layers, the whole network, and lines that sum up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from sparsegen.compare.headlines import details_line, error_text, headlines, inaccuracies, torch_line
from sparsegen.compare.report import ARTEFACT, OURS, Accuracy, Comparison, LayerComparison, Race, Timing
from sparsegen.formats import SHORT_NAMES
from sparsegen.wording import dimensions, milliseconds, short_names

_FORMATTED = 132
"""Terminal columns from which kernels and formats have their full names."""

_CSR = 8
"""Terminal columns that CSR products take."""

_RIVALS = {"torch-nchw": "nchw", "torch-nhwc": "nhwc", OURS: "ours"}
"""Short names of rivals."""


@dataclass(frozen=True)
class _Column:
    """One column of the layers' table, shown by terminals at least `terminal` and less than `below` wide.

    An `elastic` column is cut short where the others would not fit; a `csr` one is left out where no
    CSR product took part.
    """

    title: str
    cell: Callable[[LayerComparison], str | Text]
    terminal: int = 0
    below: int = 1 << 30
    left: bool = False
    elastic: bool = False
    csr: bool = False


_COLUMNS = (
    _Column("weights", lambda layer: dimensions(layer.weight_shape)),
    _Column("input", lambda layer: dimensions(layer.input_shape[1:]), 118),
    _Column("kept", lambda layer: f"{layer.density:.0%}", 94),
    _Column("runs", lambda layer: _runs(layer), left=True),
    _Column("kernel", lambda layer: SHORT_NAMES.get(layer.format, layer.format), below=_FORMATTED, left=True),
    _Column("kernel", lambda layer: layer.implementation, _FORMATTED, left=True),
    _Column("format", lambda layer: layer.format, _FORMATTED, left=True),
    _Column("schedule", lambda layer: _knobs(layer.schedule), 158, left=True, elastic=True),
    _Column("best", lambda layer: _RIVALS.get(layer.race.best_dense, layer.race.best_dense), 88, left=True),
    _Column("dense\nms", lambda layer: milliseconds(layer.race.dense[layer.race.best_dense].median_ms)),
    _Column("ours\nms", lambda layer: milliseconds(layer.race.sparse.median_ms)),
    _Column("over\ndense", lambda layer: _speedup(layer.race.speedup)),
    _Column("over\ntorch", lambda layer: _speedup(layer.race.speedup_over_torch), 80),
    _Column("csr\nms", lambda layer: _best_csr(layer.race), 142, csr=True),
    _Column("over\ncsr", lambda layer: _speedup(layer.race.speedup_over_csr), csr=True),
    _Column("GF/s", lambda layer: f"{layer.gflops:.0f}", 106),
    _Column("of\npeak", lambda layer: f"{layer.peak_fraction:.0%}", 106),
    _Column("error", lambda layer: _error(layer.accuracy), 140),
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the tables to `console`, at the width that it has."""
    if comparison.layers:
        console.print(_layers_table(comparison, console.width))
    if comparison.end_to_end is not None:
        console.print(_network_table(comparison.end_to_end.race))
        for name, reason in comparison.end_to_end.absent.items():
            console.print(Text(f"{name} took no part: {reason}", style="yellow"), soft_wrap=True)
    if (line := torch_line(comparison)) is not None:
        console.print(Text(line, style="yellow"))
    for line in inaccuracies(comparison):
        console.print(Text(line, style="bold red"))
    console.print(Text(details_line(comparison)))
    for text in comparison.warnings:
        console.print(Text(f"doubtful: {text}", style="yellow"))
    for line in headlines(comparison):
        console.print(Text(line, style="bold"))


def _layers_table(comparison: Comparison, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    # Only names and schedules give way where the terminal is too narrow: numbers stay whole.
    names = short_names([layer.name for layer in comparison.layers])
    table.add_column("layer", overflow="ellipsis", min_width=min(20, max(map(len, names))))
    csr = comparison.geomean_speedup_over_csr is not None
    room = width - _CSR if csr else width
    columns = [each for each in _COLUMNS if each.terminal <= room < each.below and (csr or not each.csr)]
    for column in columns:
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(column.title, justify=justify, overflow="ellipsis", no_wrap=not column.elastic)
    for name, layer in zip(names, comparison.layers, strict=True):
        table.add_row(name, *(column.cell(layer) for column in columns))
    return table


def _network_table(race: Race) -> Table:
    """Every engine on the whole network, the fastest ones marked."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("whole network")
    for title in ("ms", "p10-p90", "speed-up of sparse"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for name, timing in {**race.dense, **race.engines}.items():
        label = f"{name} dense" if name == OURS else name
        table.add_row(label, *_times(timing), _speedup(race.over(name)), _mark(race, name))
    table.add_row(f"{OURS} sparse", *_times(race.sparse), "", "", style="bold")
    if race.artefact is not None:
        ratio = race.artefact.median_ms / race.sparse.median_ms
        table.add_row(f"{OURS} {ARTEFACT}", *_times(race.artefact), _speedup(ratio), "the file")
    return table


def _times(timing: Timing) -> tuple[str, str]:
    """The median and the spread."""
    return milliseconds(timing.median_ms), f"{milliseconds(timing.p10_ms)}-{milliseconds(timing.p90_ms)}"


def _mark(race: Race, name: str) -> str:
    if race.engines and name == race.best_rival:
        return "best rival"
    if name == race.best_dense:
        return "best dense"
    return "best of torch" if name == race.best_torch else ""


def _runs(layer: LayerComparison) -> Text:
    """Whether the layer's kernel skips zeros."""
    return Text("sparse") if layer.sparse else Text("dense", style="yellow")


def _best_csr(race: Race) -> str:
    return milliseconds(min(timing.median_ms for timing in race.csr.values()))


def _speedup(ratio: float | None) -> Text:
    """A ratio, green where it is a gain and red where it is a loss: what is shown as 1.00x is neither."""
    if ratio is None:
        return Text()
    shown = round(ratio, 2)
    return Text(f"{ratio:.2f}x", style="green" if shown > 1 else "red" if shown < 1 else "")


def _error(accuracy: Accuracy) -> Text:
    """The relative error, marked where it is too large."""
    return Text(error_text(accuracy), style="" if accuracy.passes else "bold red")


def _knobs(schedule: dict[str, int | str | bool]) -> str:
    """The numbers of a schedule by their initials: `r4,th2,tw4` of rows, tile_h and tile_w."""
    numbers = {knob: value for knob, value in schedule.items() if type(value) is int}
    return ",".join(
        "".join(word[0] for word in knob.split("_")) + str(value) for knob, value in numbers.items()
    )
