"""A comparison as a picture for a paper: dense against sparse times, layer by layer and in all."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sparsegen.compare.report import ARTEFACT, OURS, Comparison, Race, Timing
from sparsegen.wording import milliseconds, short_names, sparsity_phrase, threads_phrase

# Okabe and Ito's palette, told apart by every kind of colour vision and by lightness in print.
_TORCH, _ENGINE, _DENSE, _SPARSE = "#999999", "#009E73", "#56B4E9", "#D55E00"
_EDGE, _HATCH = "#333333", "////"
_BAR = 0.27
_NARROWEST = 7.2
"""Width in inches that the title and the legend need."""


def draw(comparison: Comparison) -> Figure:
    """Draw the layers and, where it was timed, the whole network to their right; times in milliseconds.

    CSR products are left out: their bars would dwarf all others.
    """
    network = comparison.end_to_end
    widths = [max(3.5, 0.55 * len(comparison.layers) + 0.6)] if comparison.layers else []
    if network is not None:
        widths.append(0.5 * (len(network.race.spread()) - 1) + 0.9)
    figure = Figure(figsize=(max(_NARROWEST, sum(widths) + 0.8), 4.2), layout="constrained")
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    if comparison.layers:
        _draw_layers(axes[0], comparison)
        series = _legend(comparison)
        figure.legend(
            handles=series, loc="outside lower center", ncols=len(series), fontsize=8, frameon=False
        )
    if network is not None:
        _draw_network(axes[-1], network.race)
    machine = comparison.machine
    figure.suptitle(
        f"{comparison.model}, {sparsity_phrase(comparison.structure, comparison.sparsity)}, "
        f"batch {comparison.batch}, {threads_phrase(comparison.threads)}\n"
        f"{machine.cpu} ({machine.isa}), medians of {comparison.samples}",
        fontsize=10,
    )
    return figure


def _draw_layers(axes: Axes, comparison: Comparison) -> None:
    """Three bars a layer, the speed-up over the best dense rival above them.

    The last one is hatched, in the colour of dense code, where that is what the layer is compiled to.
    """
    layers = comparison.layers
    races, positions = [layer.race for layer in layers], range(len(layers))
    timings = (
        [race.dense[race.best_torch] for race in races],
        [race.dense[OURS] for race in races],
        [race.sparse for race in races],
    )
    ours = [_SPARSE if layer.sparse else _DENSE for layer in layers]
    hatches = ["" if layer.sparse else _HATCH for layer in layers]
    _bars(axes, [each - _BAR for each in positions], timings[0], width=_BAR, colours=_TORCH)
    _bars(axes, positions, timings[1], width=_BAR, colours=_DENSE)
    _bars(axes, [each + _BAR for each in positions], timings[2], width=_BAR, colours=ours, hatches=hatches)
    for position, race, *three in zip(positions, races, *timings, strict=True):
        _annotate(axes, position, max(timing.p90_ms for timing in three), f"{race.speedup:.2f}x")
    names = short_names([layer.name for layer in layers])
    axes.set_xticks(positions, names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_title(
        f"Pruned layers, {comparison.sparse_layers} of {len(layers)} run sparse\n"
        f"{comparison.geomean_speedup:.2f}x over the best dense in geometric mean,\n"
        f"{comparison.geomean_speedup_over_torch:.2f}x over the best of torch",
        fontsize=9,
    )
    axes.set_ylabel("time (ms)")
    axes.set_xlim(-0.6, len(races) - 0.4)
    _finish(axes)


def _legend(comparison: Comparison) -> list[Patch]:
    """The series of the layers' bars; those of layers that run dense where there are any."""
    series = [
        Patch(color=_TORCH, label="best of torch, dense"),
        Patch(color=_DENSE, label="sparsegen, dense"),
        Patch(color=_SPARSE, label="sparsegen, sparse"),
    ]
    if comparison.sparse_layers == len(comparison.layers):
        return series
    dense = Patch(facecolor=_DENSE, edgecolor=_EDGE, hatch=_HATCH, linewidth=0, label="sparsegen, runs dense")
    return [*series, dense]


def _draw_network(axes: Axes, race: Race) -> None:
    """One bar an engine."""
    engines = {**race.dense, **race.engines, "sparse": race.sparse}
    if race.artefact is not None:
        engines[ARTEFACT] = race.artefact
    known = {OURS: _DENSE, "sparse": _SPARSE, ARTEFACT: _SPARSE, **dict.fromkeys(race.engines, _ENGINE)}
    colours = [known.get(name, _TORCH) for name in engines]
    for position, (timing, colour) in enumerate(zip(engines.values(), colours, strict=True)):
        _bars(axes, [position], [timing], width=0.7, colours=colour)
        _annotate(axes, position, timing.p90_ms, milliseconds(timing.median_ms), bold=False)
    names = {OURS: "sparsegen, dense", "sparse": "sparsegen, sparse", ARTEFACT: "sparsegen, a file"}
    labels = [names.get(name, name) for name in engines]
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    rival, kind = (race.best_rival, "rival") if race.engines else (race.best_torch, "of torch")
    axes.set_title(
        f"Whole network\n{race.speedup:.2f}x over the best dense,\n"
        f"{race.over(rival):.2f}x over the best {kind}",
        fontsize=9,
    )
    axes.set_ylabel("time (ms)")
    _finish(axes)


def _bars(
    axes: Axes,
    positions: Sequence[float],
    timings: Sequence[Timing],
    *,
    width: float,
    colours: str | Sequence[str],
    hatches: Sequence[str] | None = None,
) -> None:
    """Bars of medians, with a line from the 10th to the 90th percentile."""
    medians = [timing.median_ms for timing in timings]
    spread = [
        [timing.median_ms - timing.p10_ms for timing in timings],
        [t.p90_ms - t.median_ms for t in timings],
    ]
    line = {"elinewidth": 0.7, "ecolor": "#333333"}
    axes.bar(
        positions,
        medians,
        width,
        yerr=spread,
        error_kw=line,
        color=colours,
        edgecolor=_EDGE,
        linewidth=0,
        hatch=hatches,
    )


def _annotate(axes: Axes, position: float, height: float, text: str, *, bold: bool = True) -> None:
    """Write `text` just above `height`."""
    weight = "bold" if bold else "normal"
    place = (position, height)
    axes.annotate(text, place, (0, 2), textcoords="offset points", ha="center", fontsize=8, fontweight=weight)


def _finish(axes: Axes) -> None:
    """Light horizontal rules, no frame, room for the annotations."""
    axes.margins(y=0.15)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
