"""A comparison as tables for a terminal: the layers, the whole network, and a line that sums up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from sparsegen.compare.report import (
    OURS,
    TOLERANCE,
    Accuracy,
    Comparison,
    LayerComparison,
    Race,
    Timing,
)
from sparsegen.wording import dimensions, milliseconds, short_names, sparsity_phrase, threads_phrase

_WIDE, _WIDEST = 110, 140
"""Terminal columns from which the table shows more, and everything."""

_RIVALS = {"torch-nchw": "nchw", "torch-nhwc": "nhwc", "torch-compile": "compile", OURS: "ours"}


@dataclass(frozen=True)
class _Column:
    """One column of the layers' table; `terminal` is the narrowest terminal that shows it.

    An `elastic` column is cut short where the others would not fit; a `csr` one is left out where no
    CSR product took part.
    """

    title: str
    cell: Callable[[LayerComparison], str | Text]
    terminal: int = 0
    left: bool = False
    elastic: bool = False
    csr: bool = False


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
    _Column("csr\nms", lambda layer: _best_csr(layer.race), _WIDE, csr=True),
    _Column("over\ncsr", lambda layer: _speedup(layer.race.speedup_over_csr), csr=True),
    _Column("GF/s", lambda layer: f"{layer.gflops:.0f}"),
    _Column("of\npeak", lambda layer: f"{layer.peak_fraction:.0%}"),
    _Column("error", lambda layer: _error(layer.accuracy), _WIDE),
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the tables to `console`, at the width that it has."""
    if comparison.layers:
        console.print(_layers_table(comparison, console.width))
    if comparison.end_to_end is not None:
        console.print(_network_table(comparison.end_to_end.race))
        for name, reason in comparison.end_to_end.absent.items():
            console.print(Text(f"{name} took no part: {reason}", style="yellow"), soft_wrap=True)
    for name in _inaccurate(comparison):
        console.print(Text(f"{name} differs from float64 by more than {TOLERANCE:.0e}", style="bold red"))
    console.print(Text(details_line(comparison)))
    console.print(Text(summary_line(comparison), style="bold"))


def summary_line(comparison: Comparison) -> str:
    """The result, and all that its numbers need to be understood, in one line."""
    machine, network = comparison.machine, comparison.end_to_end
    results = [*_layers_phrase(comparison)]
    if network is not None:
        results.append(f"network {_over_dense(network.race)}")
    return (
        f"{comparison.model}, {sparsity_phrase(comparison.structure, comparison.sparsity)}, "
        f"batch {comparison.batch}, {threads_phrase(comparison.threads)} of {machine.cpu} "
        f"({machine.target}, {machine.isa}), medians of {comparison.samples}: " + "; ".join(results)
    )


def _layers_phrase(comparison: Comparison) -> Iterator[str]:
    if comparison.layers:
        csr = comparison.geomean_speedup_over_csr
        yield (
            f"layers {comparison.geomean_speedup:.2f}x over the best dense in geometric mean, "
            f"{comparison.min_speedup:.2f}x at least"
            + ("" if csr is None else f", {csr:.2f}x over the best CSR product in geometric mean")
        )


def details_line(comparison: Comparison) -> str:
    """What holds beside the speed: of the network, where it was timed, the schedules, and the machine."""
    network, peak = comparison.end_to_end, f"FMA peak {comparison.machine.fma_peak_gflops:.0f} GF/s"
    sources = Counter(layer.schedule_source for layer in comparison.layers)
    if sources:
        told = ", ".join(f"{n} {source}" for source, n in sources.most_common())
        peak = f"schedules of layers: {told}; {peak}"
    if network is None:
        return peak
    return (
        f"network: compiled in {comparison.compile_seconds:.1f} s; "
        f"activations {_mib(network.peak_bytes)} MiB, largest live set {_mib(network.live_bytes)} MiB; "
        f"error {_error(network.accuracy)} against float64, argmax {network.argmax_agreement:.1%} equal; "
        f"{peak}"
    )


def _layers_table(comparison: Comparison, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    # Only names and kernels give way where the terminal is too narrow: numbers stay whole.
    names = short_names([layer.name for layer in comparison.layers])
    table.add_column("layer", overflow="ellipsis", min_width=min(20, max(map(len, names))))
    csr = comparison.geomean_speedup_over_csr is not None
    columns = [column for column in _COLUMNS if width >= column.terminal and (csr or not column.csr)]
    for column in columns:
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(column.title, justify=justify, overflow="ellipsis", no_wrap=not column.elastic)
    for name, layer in zip(
        short_names([layer.name for layer in comparison.layers]), comparison.layers, strict=True
    ):
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


def _over_dense(race: Race) -> str:
    torch_too = f", {race.over(race.best_torch):.2f}x over the best of torch ({race.best_torch})"
    best = f"{race.speedup:.2f}x over the best dense ({race.best_dense})"
    told = best if race.best_dense == race.best_torch else best + torch_too
    if not race.engines:
        return told
    return f"{told}, {race.over(race.best_rival):.2f}x over the best rival ({race.best_rival})"


def _best_csr(race: Race) -> str:
    return milliseconds(min(timing.median_ms for timing in race.csr.values()))


def _inaccurate(comparison: Comparison) -> Iterator[str]:
    """What differs from float64: layers, rivals on a layer, the whole network."""
    for layer in comparison.layers:
        results = {layer.name: layer.accuracy}
        results |= {f"{name} on {layer.name}": found for name, found in layer.csr_accuracy.items()}
        yield from (name for name, found in results.items() if not found.passes)
    if comparison.end_to_end is not None and not comparison.end_to_end.accuracy.passes:
        yield "the whole network"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def _speedup(ratio: float | None) -> Text:
    if ratio is None:
        return Text()
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
