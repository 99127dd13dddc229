"""A comparison as tables for a terminal: the layers, the whole network, and a line that sums up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from sparsegen.compare.report import OURS, TOLERANCE, Accuracy, Comparison, LayerComparison, Race, Timing
from sparsegen.compare.wording import dimensions, milliseconds, short_names, threads_phrase

_WIDE, _WIDEST = 110, 140
"""Terminal columns from which the table shows more, and everything."""

_RIVALS = {"torch-nchw": "nchw", "torch-nhwc": "nhwc", "torch-compile": "compile", OURS: "ours"}


@dataclass(frozen=True)
class _Column:
    """One column of the layers' table; `terminal` is the narrowest terminal that shows it.

    An `elastic` column is cut short where the others would not fit.
    """

    title: str
    cell: Callable[[LayerComparison], str | Text]
    terminal: int = 0
    left: bool = False
    elastic: bool = False


_COLUMNS = (
    _Column("weights", lambda layer: dimensions(layer.weight_shape)),
    _Column("input", lambda layer: dimensions(layer.input_shape[1:]), _WIDE),
    _Column("kept", lambda layer: f"{layer.density:.0%}", _WIDE),
    _Column("format", lambda layer: layer.format, _WIDEST, left=True),
    _Column("schedule", lambda layer: _knobs(layer.schedule), _WIDE, left=True, elastic=True),
    _Column("best", lambda layer: _RIVALS.get(layer.race.best_dense, layer.race.best_dense), left=True),
    _Column("dense\nms", lambda layer: milliseconds(layer.race.dense[layer.race.best_dense].median_ms)),
    _Column("sparse\nms", lambda layer: milliseconds(layer.race.sparse.median_ms)),
    _Column("speed-\nup", lambda layer: _speedup(layer.race.speedup)),
    _Column("GF/s", lambda layer: f"{layer.gflops:.0f}"),
    _Column("of\npeak", lambda layer: f"{layer.peak_fraction:.0%}"),
    _Column("error", lambda layer: _error(layer.accuracy), _WIDE),
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the tables to `console`, at the width that it has."""
    console.print(_layers_table(comparison, console.width))
    console.print(_network_table(comparison))
    for name, reason in comparison.end_to_end.absent.items():
        console.print(Text(f"{name} took no part: {reason}", style="yellow"), soft_wrap=True)
    for name in _inaccurate(comparison):
        console.print(Text(f"{name} differs from float64 by more than {TOLERANCE:.0e}", style="bold red"))
    console.print(Text(details_line(comparison)))
    console.print(Text(summary_line(comparison), style="bold"))


def summary_line(comparison: Comparison) -> str:
    """The result, and all that its numbers need to be understood, in one line."""
    machine, race = comparison.machine, comparison.end_to_end.race
    torch_too = f", {race.over(race.best_torch):.2f}x over the best of torch ({race.best_torch})"
    return (
        f"{comparison.model}, {comparison.sparsity:.0%} {comparison.structure}, batch {comparison.batch}, "
        f"{threads_phrase(comparison.threads)} of {machine.cpu} ({machine.target}, {machine.isa}), "
        f"medians of {comparison.samples}: layers {comparison.geomean_speedup:.2f}x in geometric mean, "
        f"{comparison.min_speedup:.2f}x at least; network {race.speedup:.2f}x over the best dense "
        f"({race.best_dense}){torch_too if race.best_dense != race.best_torch else ''}"
    )


def details_line(comparison: Comparison) -> str:
    """What holds for the whole network beside its speed."""
    network = comparison.end_to_end
    return (
        f"network: compiled in {comparison.compile_seconds:.1f} s; "
        f"activations {_mib(network.peak_bytes)} MiB, largest live set {_mib(network.live_bytes)} MiB; "
        f"error {_error(network.accuracy)} against float64, argmax {network.argmax_agreement:.1%} equal; "
        f"FMA peak {comparison.machine.fma_peak_gflops:.0f} GF/s"
    )


def _layers_table(comparison: Comparison, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    # Only names and kernels give way where the terminal is too narrow: numbers stay whole.
    names = short_names([layer.name for layer in comparison.layers])
    table.add_column("layer", overflow="ellipsis", min_width=min(20, max(map(len, names))))
    columns = [column for column in _COLUMNS if width >= column.terminal]
    for column in columns:
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(column.title, justify=justify, overflow="ellipsis", no_wrap=not column.elastic)
    for name, layer in zip(
        short_names([layer.name for layer in comparison.layers]), comparison.layers, strict=True
    ):
        table.add_row(name, *(column.cell(layer) for column in columns))
    return table


def _network_table(comparison: Comparison) -> Table:
    """Every engine on the whole network, the fastest dense ones marked."""
    race = comparison.end_to_end.race
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("whole network")
    for title in ("ms", "p10-p90", "speed-up of sparse"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for name, timing in race.dense.items():
        label = f"{name} dense" if name == OURS else name
        table.add_row(label, *_times(timing), _speedup(race.over(name)), _mark(race, name))
    table.add_row(f"{OURS} sparse", *_times(race.sparse), "", "", style="bold")
    return table


def _times(timing: Timing) -> tuple[str, str]:
    """The median and the spread."""
    return milliseconds(timing.median_ms), f"{milliseconds(timing.p10_ms)}-{milliseconds(timing.p90_ms)}"


def _mark(race: Race, name: str) -> str:
    if name == race.best_dense:
        return "best dense"
    return "best of torch" if name == race.best_torch else ""


def _inaccurate(comparison: Comparison) -> list[str]:
    names = [layer.name for layer in comparison.layers if not layer.accuracy.passes]
    return names if comparison.end_to_end.accuracy.passes else [*names, "the whole network"]


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def _speedup(ratio: float) -> Text:
    return Text(f"{ratio:.2f}x", style="green" if ratio > 1 else "red")


def _error(accuracy: Accuracy) -> Text:
    """The relative error, marked where it is too large."""
    if accuracy.passes:
        return Text(f"{accuracy.relative_error:.0e}")
    return Text(f"{accuracy.relative_error:.0e}!", style="bold red")


def _knobs(schedule: dict[str, int | str | bool]) -> str:
    """The numbers of a schedule by their initials: `r4,th2,tw4` of rows, tile_h and tile_w."""
    numbers = {knob: value for knob, value in schedule.items() if type(value) is int}
    return ",".join(
        "".join(word[0] for word in knob.split("_")) + str(value) for knob, value in numbers.items()
    )
