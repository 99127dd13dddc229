"""The cost model: gradient-boosted trees that predict how fast a schedule is, from what it implies.

Targets are logarithms of times over the time of the same workload's default schedule, so that layers
of all sizes teach each other. Trees start from the analytic estimate, where a kernel has one, and learn
what it misses (XGBoost: Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", 2016).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.stats import spearmanr

from sparsegen.files import write_file

FEATURES_VERSION = 1
"""Of the features that spaces compute; raised when one changes its meaning."""

ESTIMATE = "estimate"
"""The feature that is an analytic estimate: log2 of cycles, here over those of the default schedule."""

_OBJECTIVES = ("reg:squarederror", "rank:pairwise")
_FOLDS = 3
_LEAST = 24  # samples to learn anything from
_ROUNDS = 120
_PARAMETERS = {"max_depth": 6, "eta": 0.1, "subsample": 0.8, "min_child_weight": 2, "tree_method": "hist"}

Features = Mapping[str, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """A schedule's features, and log2 of its time over the default's; `group` is its workload."""

    group: int
    features: Features
    target: float


def relative(features: Features, default: Features) -> dict[str, float]:
    """Features of a schedule with the estimate put over the default's, as samples and predictions take it."""
    if ESTIMATE not in features or ESTIMATE not in default:
        return {name: value for name, value in features.items() if name != ESTIMATE}
    return {**features, ESTIMATE: features[ESTIMATE] - default[ESTIMATE]}


class CostModel:
    """Ranks schedules of a workload: the lower the prediction, the faster.

    `rank_correlation` is Spearman's, within a workload, on samples held out from the fit: the mean
    over workloads; None where there were too few to tell.
    """

    def __init__(
        self, booster: xgboost.Booster, names: Sequence[str], objective: str, rank_correlation: float | None
    ) -> None:
        self._booster = booster
        self._names = list(names)
        self.objective = objective
        self.rank_correlation = rank_correlation

    def predict(self, features: Sequence[Features]) -> Floats:
        """Scores of schedules of one workload, lower for faster; features that are unknown are missing."""
        scores = self._booster.predict(_matrix(features, self._names, self.objective))
        return np.asarray(scores, np.float64) * _sign(self.objective)

    def save(self, path: Path) -> None:
        """Write the model as XGBoost's JSON, with the features' names and version as attributes."""
        self._booster.set_attr(
            features=json.dumps(self._names),
            features_version=str(FEATURES_VERSION),
            objective=self.objective,
            rank_correlation=json.dumps(self.rank_correlation),
        )
        write_file(path, bytes(self._booster.save_raw("json")))

    @classmethod
    def load(cls, path: Path) -> CostModel | None:
        """The model of a file; None where there is none, or its features are of another version."""
        booster = xgboost.Booster()
        try:
            booster.load_model(path)
        except (xgboost.core.XGBoostError, OSError, ValueError):
            return None
        if booster.attr("features_version") != str(FEATURES_VERSION):
            return None
        try:
            names = json.loads(booster.attr("features") or "[]")
            correlation = json.loads(booster.attr("rank_correlation") or "null")
        except (ValueError, RecursionError):
            return None
        return cls(booster, names, booster.attr("objective") or _OBJECTIVES[0], correlation)


def fit(samples: Sequence[Sample], *, seed: int, objective: str | None = None) -> CostModel | None:
    """The model of some samples; None for too few.

    The objective, where none is given, is the one with the better rank correlation on held-out samples.
    """
    if len(samples) < _LEAST:
        return None
    ordered = sorted(samples, key=lambda sample: sample.group)  # rankings want groups in one piece
    names = sorted({name for sample in ordered for name in sample.features})
    correlations = {
        each: _held_out(ordered, names, each, seed) for each in ([objective] if objective else _OBJECTIVES)
    }
    best = max(correlations, key=lambda each: correlations[each] or -math.inf)
    return CostModel(_train(ordered, names, best, seed), names, best, correlations[best])


def _held_out(samples: Sequence[Sample], names: Sequence[str], objective: str, seed: int) -> float | None:
    """Mean Spearman correlation within workloads, of predictions by models that had not seen the sample."""
    folds = np.random.default_rng(seed).integers(_FOLDS, size=len(samples))
    predictions = np.zeros(len(samples))
    for fold in range(_FOLDS):
        seen = [sample for sample, own in zip(samples, folds, strict=True) if own != fold]
        held = [i for i in range(len(samples)) if folds[i] == fold]
        model = CostModel(_train(seen, names, objective, seed), names, objective, None)
        # Scores of several models of a ranking do not compare: each fold is ranked for itself.
        predictions[held] = model.predict([samples[i].features for i in held])
    correlations, weights = [], []
    for group in sorted({sample.group for sample in samples}):
        for fold in range(_FOLDS):
            members = [i for i, s in enumerate(samples) if s.group == group and folds[i] == fold]
            targets = [samples[i].target for i in members]
            if len(set(targets)) > 2 and len(set(predictions[members])) > 1:
                correlations.append(float(spearmanr(targets, predictions[members]).statistic))
                weights.append(len(members))
    return float(np.average(correlations, weights=weights)) if correlations else None


def _train(samples: Sequence[Sample], names: Sequence[str], objective: str, seed: int) -> xgboost.Booster:
    matrix = _matrix([sample.features for sample in samples], names, objective)
    targets = np.array([sample.target for sample in samples]) * _sign(objective)
    if objective == "rank:pairwise":
        matrix.set_info(qid=[sample.group for sample in samples])
        targets = targets - targets.min()  # relevance: not negative, more for the better
    matrix.set_info(label=targets)
    parameters = {**_PARAMETERS, "objective": objective, "seed": seed, "base_score": 0.0}
    return xgboost.train(parameters, matrix, num_boost_round=_ROUNDS)


def _matrix(features: Sequence[Features], names: Sequence[str], objective: str) -> Any:
    """The features as XGBoost takes them, missing ones as NaN, with estimates to start from."""
    rows = np.array([[each.get(name, math.nan) for name in names] for each in features], np.float32)
    start = [each.get(ESTIMATE, 0.0) for each in features]
    return xgboost.DMatrix(
        rows, base_margin=np.array(start) * _sign(objective), feature_names=list(names), missing=math.nan
    )


def _sign(objective: str) -> int:
    """Rankings score the best highest; times are least for the best."""
    return -1 if objective == "rank:pairwise" else 1
