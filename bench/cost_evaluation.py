"""How well costs are predicted of networks of whole families that a fit had not seen; pure arithmetic."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import spearmanr

from bench.cost_measurements import MeasuredCall, Measurement
from sparsegen.hetero.costs.prediction import Sample, fit

LONG = 50e-6
"""Seconds above which an operator counts: shorter ones are a clock's and a call's matter."""


@dataclass(frozen=True)
class Operator:
    """An operator: what each round measured, what was predicted, and the rough cost, in seconds."""

    family: str
    network: str
    rounds: tuple[float, ...]
    predicted: float
    rough: float
    unknown: float

    @property
    def seconds(self) -> float:
        """The mean of the rounds, which predictions are held against."""
        return statistics.mean(self.rounds)


@dataclass(frozen=True)
class Score:
    """Errors over the operators longer than `LONG`, each of their sum of seconds; and rank correlations.

    error: of predictions. repeated: of one round as the other's prediction. rough: of the rough costs that
    predictions start from, once scaled to the right sum. unknown: the share of the seconds predicted that are
    of a roofline, as no sample was of the kind.
    """

    operators: int
    milliseconds: float
    error: float
    rank: float
    repeated: float
    repeated_rank: float
    rough: float
    rough_rank: float
    unknown: float


Statistic = Literal["medians", "minima"]
"""What is taken of a round's samples: minima bear other work on the machine better."""


def held_out(
    measurements: Sequence[Measurement],
    implementation: str,
    begin: Callable[[str], None],
    statistic: Statistic = "medians",
) -> dict[str, list[Operator]]:
    """Operators by granularity, of one number of threads: each family by a fit on all others.

    `begin` is told of each family. Raises PredictionError where the others are too few to fit.
    """
    found: defaultdict[str, list[Operator]] = defaultdict(list)
    for family in sorted({each.family for each in measurements}):
        begin(family)
        others = [each for each in measurements if each.family != family]
        model = fit(
            [
                Sample(call.call, statistics.mean(getattr(call, statistic)))
                for each in others
                for call in each.calls.get(implementation, ())
            ]
        )
        for each in measurements:
            calls = each.calls.get(implementation, ())
            if each.family != family or not calls:
                continue
            predicted = model.predict([call.call for call in calls])
            layers: defaultdict[str, list[tuple[MeasuredCall, float, float]]] = defaultdict(list)
            for call, (seconds, origin) in zip(calls, predicted, strict=True):
                layers[call.call.layer].append((call, seconds, seconds if origin == "roofline" else 0.0))
            for granularity, groups in (("layer", [(name,) for name in layers]), ("block", each.blocks)):
                made = (
                    _operator(each, statistic, [part for name in group for part in layers[name]])
                    for group in groups
                )
                found[granularity] += [operator for operator in made if operator is not None]
    return dict(found)


def _operator(
    measurement: Measurement, statistic: Statistic, parts: Sequence[tuple[MeasuredCall, float, float]]
) -> Operator | None:
    if not parts:
        return None
    return Operator(
        measurement.family,
        measurement.network,
        tuple(sum(each) for each in zip(*(getattr(call, statistic) for call, _, _ in parts), strict=True)),
        sum(seconds for _, seconds, _ in parts),
        sum(call.call.rough for call, _, _ in parts),
        sum(unknown for _, _, unknown in parts),
    )


def score(operators: Iterable[Operator]) -> Score | None:
    """The score of the long ones; None where there are fewer than three."""
    long = [each for each in operators if each.seconds > LONG]
    if len(long) < 3:
        return None
    seconds = [each.seconds for each in long]
    predicted, rough = [each.predicted for each in long], [each.rough for each in long]
    first, second = [each.rounds[0] for each in long], [each.rounds[-1] for each in long]
    scale = sum(seconds) / sum(rough)
    return Score(
        operators=len(long),
        milliseconds=1e3 * sum(seconds),
        error=_error(predicted, seconds),
        rank=_rank(predicted, seconds),
        repeated=_error(first, second),
        repeated_rank=_rank(first, second),
        rough=_error([scale * each for each in rough], seconds),
        rough_rank=_rank(rough, seconds),
        unknown=sum(each.unknown for each in long) / sum(predicted),
    )


def by_family(operators: Iterable[Operator]) -> Mapping[str, Score]:
    """The score of each family that has operators enough."""
    found: defaultdict[str, list[Operator]] = defaultdict(list)
    for each in operators:
        found[each.family].append(each)
    scores = {family: score(each) for family, each in sorted(found.items())}
    return {family: each for family, each in scores.items() if each is not None}


def _error(predicted: Sequence[float], seconds: Sequence[float]) -> float:
    return sum(abs(p - s) for p, s in zip(predicted, seconds, strict=True)) / sum(seconds)


def _rank(predicted: Sequence[float], seconds: Sequence[float]) -> float:
    return float(spearmanr(predicted, seconds).statistic)
