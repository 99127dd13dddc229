"""Pruning to a time: how much each layer keeps, chosen under a total budget (Wu et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsegen.errors import PruningError
from sparsegen.formats.structure_names import DENSE, of_ratio, of_rows
from sparsegen.pruning.kernel import keep_filters
from sparsegen.pruning.masks import Choice, PrunedLayer, kept_l1, set_masks
from sparsegen.pruning.n_m import check_ratio, keep_ratio
from sparsegen.pruning.prunable import Model, WeightLayer, names_of, prunable_layers
from sparsegen.pruning.registry import register
from sparsegen.pruning.selection import check_rows, check_some_left, clamped, nothing_taken

Ratio = tuple[int, int]

STEPS = 10_000
"""Parts that the time to share out is cut into."""


@register("budget")
def budget(
    model: Model,
    *,
    times: Mapping[str, Mapping[Ratio, float]],
    budget: float,
    rows: int | None = None,
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place, each layer to the N:M ratio that is best for all under a total time.

    Best where a latency is given and layers differ in what sparsity costs and saves. Not without measured
    times. With `rows`, a layer keeps N of M of its whole filters, those of so many output channels together,
    as `kernel` prunes them.

    `times` maps every layer to prune to the seconds that it takes at each ratio (n, m) it may have; (m, m)
    is the dense layer. `sparsegen.compare.layer_times.measure_ratios` measures them. `budget` is what the
    layers may take together, in seconds. The ratios chosen keep the greatest sum, over the layers, of the
    share of the layer's L1 norm that is kept: shares, so that all layers count alike, whatever their size
    and scale. Found by dynamic programming over layers and time (Wu, Hong, Liu and Wu, Fine-grained
    structured pruning, ICPADS 2023). `skip` and `linear` are those of `magnitude`.

    The layers returned tell their structure, and in `detail` their `n`, `m` and `seconds`.

    Raises PruningError for rows < 1, a budget below the least possible time, a layer without times, times of
    no layer to prune, a time that is not positive, a ratio that cannot be (see `n_m`) or that would leave
    nothing of a layer, and a model without a layer to prune; the model is then as it was.
    """
    layers = prunable_layers(model, skip=skip, linear=linear)
    _check_times(times, layers)
    options = [[(ratio, keep_at(layer, ratio, rows)) for ratio in times[layer.name]] for layer in layers]
    chosen = choose_ratios(
        [list(times[layer.name].values()) for layer in layers],
        [
            [kept_l1(layer.weight, keep) for _, keep in masks]
            for layer, masks in zip(layers, options, strict=True)
        ],
        budget=budget,
    )
    choices = []
    for layer, masks, index in zip(layers, options, chosen, strict=True):
        ratio, keep = masks[index]
        choices.append(_choice(layer, keep, ratio, rows, times[layer.name][ratio]))
    return set_masks(choices)


def keep_at(layer: WeightLayer, ratio: Ratio, rows: int | None) -> Tensor:
    """What a layer keeps at a ratio n:m: of weights, or of the filters of `rows` output channels together.

    Raises PruningError for a ratio that does not suit the layer or leaves nothing of it, and rows < 1.
    """
    if rows is None:
        return keep_ratio(layer, *ratio)
    check_rows(rows)
    n, m = ratio
    keep = keep_filters(layer, 1 - n / m, rows)
    check_some_left(layer, keep, sparsity=1 - n / m, shape=(rows, 1))
    return keep


def _choice(layer: WeightLayer, keep: Tensor, ratio: Ratio, rows: int | None, seconds: float) -> Choice:
    """What is kept of a layer at the ratio chosen for it, and what is told of that."""
    n, m = ratio
    detail = {"n": n, "m": m, "seconds": seconds}
    if n == m:
        return Choice(layer, keep, detail, structure=DENSE)
    if rows is None:
        return Choice(layer, keep, detail, structure=of_ratio(n, m))
    notes = (*clamped(layer, (rows, 1)), *nothing_taken(layer, keep, 1 - n / m))
    return Choice(layer, keep, detail, structure=of_rows("kernel", rows), notes=notes)


def choose_ratios(
    seconds: Sequence[Sequence[float]],
    kept: Sequence[Sequence[float]],
    *,
    budget: float,
    steps: int = STEPS,
) -> tuple[int, ...]:
    """Index of the option to take for every layer: the most kept in all, within `budget` seconds in all.

    `seconds` and `kept` hold, by layer and option, what it takes and what it keeps. Every layer takes its
    fastest option at least; what that leaves of the budget is cut into `steps` parts, and an option's
    extra time is rounded up to whole parts, so that the budget is never exceeded. With
    kept(l, r) and extra(l, r), g[l][t] = max over r of g[l-1][t - extra(l, r)] + kept(l, r).

    Raises PruningError where even the fastest options exceed the budget.
    """
    least = math.fsum(min(options) for options in seconds)
    if not budget >= least:
        raise PruningError(
            f"the budget is {budget * 1e3:.4g} ms, and the fastest ratios take {least * 1e3:.4g} ms in all: "
            "allow more time, or sparser ratios"
        )
    best = np.zeros(steps + 1)
    taken = []
    for options, values in zip(seconds, kept, strict=True):
        # The fastest first: it is taken where another keeps no more.
        order = sorted(range(len(options)), key=options.__getitem__)
        extra = [_parts(options[i] - min(options), budget - least, steps) for i in order]
        best, choice = _add_layer(best, extra, [values[i] for i in order])
        taken.append((choice, extra, order))
    time, indices = steps, []
    for choice, extra, order in reversed(taken):
        indices.append(order[choice[time]])
        time -= extra[choice[time]]
    return tuple(reversed(indices))


def _add_layer(
    best: NDArray[np.float64], extra: Sequence[int], values: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The most kept within each time, with one more layer, and the layer's option there."""
    rows = np.full((len(extra), len(best)), -np.inf)
    for row, parts, value in zip(rows, extra, values, strict=True):
        if parts < len(best):
            row[parts:] = best[: len(best) - parts] + value
    return rows.max(axis=0), rows.argmax(axis=0)


def _parts(extra: float, total: float, steps: int) -> int:
    """How many of the `steps` parts of `total` cover an extra time: steps + 1 where all of them do not."""
    if extra > total:
        return steps + 1
    return math.ceil(extra * steps / total) if extra else 0


def _check_times(times: Mapping[str, Mapping[Ratio, float]], layers: Sequence[WeightLayer]) -> None:
    names = [layer.name for layer in layers]
    for name in names:
        if not times.get(name):
            raise PruningError(f"there are no times for layer '{name}': measure it, or list it in skip")
    for name, ratios in times.items():
        if name not in names:
            raise PruningError(
                f"there are times for '{name}', which is not pruned; the layers are: {names_of(names)}"
            )
        for ratio, seconds in ratios.items():
            check_ratio(*ratio)
            if not 0 < seconds < math.inf:
                raise PruningError(
                    f"layer '{name}' takes {seconds} s at {ratio[0]}:{ratio[1]}: give a positive time"
                )
