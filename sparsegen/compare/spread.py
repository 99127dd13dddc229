"""Warnings of times that vary among themselves: what makes a comparison's own figures doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsegen.compare.report import LayerComparison, NetworkComparison, Race
from sparsegen.wording import short_names

LIMIT = 1.3
"""Ratio of the 90th to the 10th percentile from which a time is doubtful; a quiet machine has 1.02 to 1.1."""

_REMEDY = "take more --samples, or measure on a quiet machine"


def spread_warnings(layers: Sequence[LayerComparison], network: NetworkComparison | None) -> Iterator[str]:
    """A line for the layers and one for the network, where times that figures rest on vary too much.

    Those are ours and those of the fastest rivals: how even slower ones are does not matter.
    """
    uneven = {}
    for name, layer in zip(short_names([layer.name for layer in layers]), layers, strict=True):
        whose, spread = _most_uneven(layer.race)
        if spread >= LIMIT:
            uneven[f"{whose} on {name}"] = spread
    if uneven:
        worst = max(uneven, key=lambda each: uneven[each])
        yield (
            f"times of {len(uneven)} of {len(layers)} layer{'s' if len(layers) > 1 else ''} vary by "
            f"{LIMIT - 1:.0%} or more from the 10th to the 90th percentile, those of {worst} by "
            f"{uneven[worst] - 1:.0%}: {_REMEDY}"
        )
    if network is not None:
        whose, spread = _most_uneven(network.race)
        if spread >= LIMIT:
            yield (
                f"the network's times vary, those of {whose} by {spread - 1:.0%} from the 10th to the 90th "
                f"percentile: {_REMEDY}"
            )


def _most_uneven(race: Race) -> tuple[str, float]:
    """Of the rivals that a race's figures rest on, the one whose times vary the most, and the ratio."""
    timings = {**race.dense, **race.engines}
    spreads = {name: timings[name].spread for name in (race.best_dense, race.best_torch, race.best_rival)}
    spreads["ours"] = race.sparse.spread
    if race.csr:
        best = min(race.csr, key=lambda name: race.csr[name].median_ms)
        spreads[best] = race.csr[best].spread
    worst = max(spreads, key=lambda name: spreads[name])
    return worst, spreads[worst]
