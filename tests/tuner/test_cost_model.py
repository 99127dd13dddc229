from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sparsegen.tuner import cost_model
from sparsegen.tuner.cost_model import CostModel, Sample, fit, relative


def samples(count: int, *, groups: int = 2, seed: int = 0, estimate: bool = True) -> list[Sample]:
    """Targets are what the estimate says, and a bend in another feature."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        x, guess = rng.uniform(-1, 1, 2)
        features = {"x": float(x), **({"estimate": float(guess)} if estimate else {})}
        target = 3 * abs(x - 0.3) + (guess if estimate else 0.0) + i % groups
        found.append(Sample(i % groups, features, float(target)))
    return found


def test_too_few_samples_make_no_model() -> None:
    assert fit(samples(10), seed=0) is None


@pytest.mark.parametrize("objective", ["reg:squarederror", "rank:pairwise"])
def test_lower_predictions_are_faster_schedules(objective: str) -> None:
    model = fit(samples(300), seed=0, objective=objective)
    assert model is not None
    assert model.rank_correlation is not None
    assert model.rank_correlation > 0.9
    near, far = model.predict([{"x": 0.3, "estimate": 0.0}, {"x": -1.0, "estimate": 0.0}])
    assert near < far
    low, high = model.predict([{"x": 0.3, "estimate": -0.8}, {"x": 0.3, "estimate": 0.8}])
    assert low < high


def test_the_objective_with_the_better_held_out_correlation_is_taken() -> None:
    found = {each: fit(samples(120), seed=0, objective=each) for each in cost_model._OBJECTIVES}
    correlations = {each: model.rank_correlation for each, model in found.items() if model is not None}
    chosen = fit(samples(120), seed=0)
    assert chosen is not None
    assert chosen.rank_correlation == max(value for value in correlations.values() if value is not None)
    assert chosen.rank_correlation == correlations[chosen.objective]


def test_held_out_correlation_of_noise_is_low() -> None:
    rng = np.random.default_rng(0)
    noise = [Sample(0, {"x": float(rng.random())}, float(rng.random())) for _ in range(200)]
    model = fit(noise, seed=0)
    assert model is not None
    assert model.rank_correlation is not None
    assert abs(model.rank_correlation) < 0.3


def test_a_model_starts_from_the_estimate() -> None:
    """With the targets equal to the estimates there is nothing to learn, and it extrapolates."""
    exact = [Sample(0, {"estimate": i / 10}, i / 10) for i in range(40)]
    model = fit(exact, seed=0, objective="reg:squarederror")
    assert model is not None
    assert model.predict([{"estimate": 20.0}])[0] == pytest.approx(20.0, abs=0.2)


def test_unknown_and_missing_features_do_no_harm() -> None:
    model = fit([*samples(60), *samples(60, seed=1, estimate=False)], seed=0)
    assert model is not None
    scores = model.predict([{"x": 0.1}, {"newer": 3.0}, {}])
    assert np.isfinite(scores).all()


def test_saved_models_predict_alike(tmp_path: Path) -> None:
    model = fit(samples(100), seed=0)
    assert model is not None
    path = tmp_path / "model.json"
    model.save(path)
    read = CostModel.load(path)
    assert read is not None
    assert read.objective == model.objective
    assert read.rank_correlation == model.rank_correlation
    rows = [sample.features for sample in samples(20, seed=3)]
    assert np.array_equal(read.predict(rows), model.predict(rows))


def test_models_of_another_feature_version_and_broken_files_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.json"
    assert CostModel.load(path) is None
    path.write_text("no model")
    assert CostModel.load(path) is None
    model = fit(samples(100), seed=0)
    assert model is not None
    model.save(path)
    for damaged in ("[" * 100_000, "half"):
        model._booster.set_attr(features=damaged)
        model._booster.save_model(path)
        assert CostModel.load(path) is None
    model.save(path)
    monkeypatch.setattr(cost_model, "FEATURES_VERSION", 99)
    assert CostModel.load(path) is None


def test_estimates_are_relative_to_the_default() -> None:
    assert relative({"estimate": 5.0, "x": 1.0}, {"estimate": 3.0}) == {"estimate": 2.0, "x": 1.0}
    assert relative({"estimate": 5.0, "x": 1.0}, {}) == {"x": 1.0}
    assert math.isfinite(relative({"x": 1.0}, {"estimate": 3.0})["x"])
