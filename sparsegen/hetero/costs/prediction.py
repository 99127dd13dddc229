"""What calls take that were never measured: gradient-boosted trees on calls that were.

A prediction starts from a roofline that is fitted to the calls of its kind (see `fitted_roofline`); trees
(XGBoost: Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", 2016) learn the logarithm of what
that misses. A model is of one setting: a CPU, a number of threads, an implementation. Equal samples give
equal models: one thread, a fixed seed, and neither the order of samples nor that of features counts. Samples
of calls that are alike count once.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import xgboost

from sparsegen.cost import Origin
from sparsegen.errors import PredictionError
from sparsegen.hetero.costs.calls import Call
from sparsegen.hetero.costs.fitted_roofline import FittedRoofline, fit_roofline

LEAST = 50
"""Samples to learn anything from."""
_LEAST_OF_A_KIND = 3
_SEED = 0
_ROUNDS = 300
_PARAMETERS = {
    "max_depth": 6,
    "eta": 0.06,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "min_child_weight": 2,
    "tree_method": "hist",
    "objective": "reg:squarederror",
    "base_score": 0.0,
    "nthread": 1,
    "seed": _SEED,
}
_LEAST_S = 1e-7  # what a clock tells apart


@dataclass(frozen=True, eq=False)
class Sample:
    """A call and the seconds that were measured of it."""

    call: Call
    seconds: float


class Predictor:
    """Predicts the seconds of calls in the setting that its samples are of."""

    def __init__(self, booster: xgboost.Booster, names: Sequence[str], roofline: FittedRoofline) -> None:
        self._booster = booster
        self._names = names
        self._roofline = roofline

    def predict(self, calls: Sequence[Call]) -> list[tuple[float, Origin]]:
        """Seconds of each, and how they are known.

        They are "predicted"; those of kinds of which there were too few samples, by a roofline that is fitted
        to all kinds, are of the origin "roofline".
        """
        if not calls:
            return []
        corrections = self._booster.predict(_matrix(calls, self._names))
        return [
            (self._roofline.seconds(call) * math.exp(correction), "predicted")
            if self._roofline.knows(call.kind)
            else (self._roofline.seconds(call), "roofline")
            for call, correction in zip(calls, corrections, strict=True)
        ]


def fit(samples: Sequence[Sample]) -> Predictor:
    """The predictor of a setting's samples.

    Raises PredictionError for fewer than `LEAST` that differ.
    """
    known = distinct(samples)
    if len(known) < LEAST:
        raise PredictionError(f"{len(known)} calls were measured, and to learn from them takes {LEAST}")
    calls, seconds = [each.call for each in known], [max(each.seconds, _LEAST_S) for each in known]
    roofline = fit_roofline(calls, seconds, least=_LEAST_OF_A_KIND)
    names = sorted({name for call in calls for name in (*call.features, _of_kind(call.kind))})
    matrix, weights = _matrix(calls, names), np.sqrt(seconds)
    matrix.set_info(
        label=np.log(seconds) - np.log([roofline.seconds(call) for call in calls]),
        weight=weights / weights.mean(),
    )
    return Predictor(xgboost.train(_PARAMETERS, matrix, num_boost_round=_ROUNDS), names, roofline)


def distinct(samples: Iterable[Sample]) -> list[Sample]:
    """One sample for calls that are alike, with the median of their seconds; in an order of their own."""
    alike: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        alike[record_of(sample.call)].append(sample)
    return [
        Sample(found[0].call, median(each.seconds for each in found)) for _, found in sorted(alike.items())
    ]


def record_of(call: Call) -> str:
    """All of a call that predictions go by, as JSON: equal for calls that are alike."""
    features = {name: float(f"{value:.6g}") for name, value in sorted(call.features.items())}
    return json.dumps([call.kind, [float(f"{part:.6g}") for part in call.parts], features])


def call_of(record: str) -> Call:
    """A call of such a record, without its names."""
    kind, parts, features = json.loads(record)
    return Call("", "", kind, tuple(parts), features)


def _matrix(calls: Sequence[Call], names: Sequence[str]) -> Any:
    """The features as XGBoost takes them, the kind one of them; missing ones as NaN."""
    rows = np.full((len(calls), len(names)), math.nan, np.float32)
    place = {name: at for at, name in enumerate(names)}
    for row, call in zip(rows, calls, strict=True):
        for name, value in {**call.features, _of_kind(call.kind): 1.0}.items():
            if name in place:
                row[place[name]] = value
    return xgboost.DMatrix(rows, feature_names=list(names), missing=math.nan, nthread=1)


def _of_kind(kind: str) -> str:
    return f"kind {kind}"
