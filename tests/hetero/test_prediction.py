"""Costs that are predicted: of which calls, from which features, how well, and how they are labelled."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.devices import Machine, make_device
from sparsegen.devices.machine import connect
from sparsegen.errors import PredictionError
from sparsegen.frontend import from_torch
from sparsegen.hetero.costs import prediction, training
from sparsegen.hetero.costs.calls import Call, our_calls, source_of, torch_calls
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.costs import cost_operators
from sparsegen.hetero.costs.fitted_roofline import fit_roofline
from sparsegen.hetero.costs.layer_costs import setting
from sparsegen.hetero.costs.prediction import Sample, call_of, distinct, fit, record_of
from sparsegen.hetero.costs.training import keep, predictor
from sparsegen.hetero.operators.cut import operators
from sparsegen.hetero.plans.plan import OURS, TORCH
from sparsegen.torch_graph.graph import TorchGraph
from tests.hetero.networks import Inception

IMAGE = torch.randn(1, 3, 12, 12)


class TopOf(nn.Module):
    """A convolution, and an operator that torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().flatten(1).topk(5).values


def law(call: Call) -> float:
    """Seconds that depend on all that a call has, not smoothly."""
    penalty = 2.0 if call.features["filled"] < 0.5 else 1.0
    _, work, moving, _ = call.parts
    roofline = {"a": 3 * work + moving, "b": 0.05 * work + 0.5 * moving}[call.kind]
    return roofline * penalty * (1 + 0.3 * call.features["steps"])


def lawful_calls(count: int, seed: int) -> list[Call]:
    chance = random.Random(seed)
    return [
        Call(
            f"call{at}",
            f"layer{at}",
            chance.choice("ab"),
            (1e-6, 10 ** chance.uniform(-6, -3), 10 ** chance.uniform(-6, -3), 0.0),
            {"filled": chance.random(), "steps": float(chance.randrange(4)), "noise": chance.random()},
        )
        for at in range(count)
    ]


@pytest.fixture(scope="module")
def lawful() -> list[Sample]:
    return [Sample(call, law(call)) for call in lawful_calls(400, seed=1)]


def test_a_known_law_is_recovered(lawful: list[Sample]) -> None:
    others = lawful_calls(200, seed=2)
    predicted = fit(lawful).predict(others)
    errors = [abs(seconds / law(call) - 1) for call, (seconds, _) in zip(others, predicted, strict=True)]
    assert sum(errors) / len(errors) < 0.1
    assert {origin for _, origin in predicted} == {"predicted"}


def test_twice_the_rough_seconds_are_predicted_as_twice_the_seconds(lawful: list[Sample]) -> None:
    calls = lawful_calls(50, seed=3)
    twice = [dataclasses.replace(call, parts=tuple(2 * part for part in call.parts)) for call in calls]
    model = fit(lawful)
    for (once, _), (more, _) in zip(model.predict(calls), model.predict(twice), strict=True):
        assert more == pytest.approx(2 * once)


def test_neither_the_order_of_samples_nor_of_features_counts(lawful: list[Sample]) -> None:
    def reversed_features(call: Call) -> Call:
        return dataclasses.replace(call, features=dict(reversed(call.features.items())))

    shuffled = [Sample(reversed_features(each.call), each.seconds) for each in lawful]
    random.Random(0).shuffle(shuffled)
    calls = lawful_calls(50, seed=4)
    backwards = fit(shuffled).predict([reversed_features(call) for call in calls])
    assert fit(lawful).predict(calls) == backwards


def test_calls_alike_count_once_with_their_median() -> None:
    (call, other) = lawful_calls(2, seed=5)
    renamed = dataclasses.replace(call, name="another", layer="another")
    found = distinct([Sample(call, 1.0), Sample(renamed, 9.0), Sample(call, 2.0), Sample(other, 5.0)])
    assert sorted(each.seconds for each in found) == [2.0, 5.0]


def test_kinds_that_no_sample_was_of_go_by_the_roofline_of_all(lawful: list[Sample]) -> None:
    (call,) = lawful_calls(1, seed=6)
    strange = dataclasses.replace(call, kind="torch aten.topk.default", features={"never seen": 1.0})
    ((seconds, origin),) = fit(lawful).predict([strange])
    assert origin == "roofline"
    roofline = fit_roofline([s.call for s in lawful], [s.seconds for s in lawful], least=3)
    assert not roofline.knows(strange.kind)
    assert seconds == pytest.approx(roofline.seconds(strange), rel=1e-6)
    assert fit(lawful).predict([]) == []


def test_a_roofline_has_its_own_factors_for_each_kind() -> None:
    calls = lawful_calls(100, seed=8)
    true = {"a": (1.0, 3.0, 1.0, 0.0), "b": (1.0, 0.05, 0.5, 0.0)}
    seconds = [sum(f * p for f, p in zip(true[call.kind], call.parts, strict=True)) for call in calls]
    roofline = fit_roofline(calls, seconds, least=3)
    for call, correct in zip(calls, seconds, strict=True):
        assert roofline.seconds(call) == pytest.approx(correct, rel=0.05, abs=1e-6)


def test_too_few_samples_are_refused(lawful: list[Sample]) -> None:
    with pytest.raises(PredictionError, match="9 calls were measured"):
        fit([*lawful[:9], *lawful[:9]])


def test_records_keep_what_predictions_go_by(lawful: list[Sample]) -> None:
    for each in lawful[:20]:
        assert record_of(call_of(record_of(each.call))) == record_of(each.call)
        assert call_of(record_of(each.call)).parts == pytest.approx(each.call.parts, rel=1e-5)


@pytest.mark.parametrize("network", [Inception(), TopOf()], ids=["inception", "top"])
def test_calls_are_those_of_the_program(network: nn.Module) -> None:
    graph = from_torch(network, (IMAGE,))
    program = compile_graph(graph, threads=1)
    run = {name for name, _, _ in program.timeline(IMAGE)}
    ours, theirs = our_calls(graph, 1), torch_calls(graph, 1)
    assert run <= {call.name for call in ours}
    assert set(TorchGraph(graph).layer_seconds(IMAGE)) == {call.name for call in theirs}
    layers = {layer.name for layer in graph.layers}
    assert {call.layer for call in (*ours, *theirs)} == layers
    for call in (*ours, *theirs):
        assert call.rough > 0
        assert all(map(math.isfinite, call.features.values()))


def test_calls_name_what_computes_them() -> None:
    graph = from_torch(TopOf(), (IMAGE,))
    theirs = {call.layer: call.kind for call in torch_calls(graph, 1)}
    assert theirs["conv"] == "torch conv"
    assert "torch aten.topk.default" in theirs.values()
    assert "torch aten.topk.default" in {call.kind for call in our_calls(graph, 1)}
    source = source_of(graph)
    assert {source(name) for name in ("conv", "conv#plain", "x")} == {"conv"}


def test_names_do_not_count() -> None:
    network = Inception()
    graph, again = (from_torch(each, (IMAGE,)) for each in (network, nn.Sequential(network).eval()))
    for calls in (our_calls, torch_calls):
        assert [*map(record_of, calls(graph, 1))] == [*map(record_of, calls(again, 1))]


def test_zeros_count_for_our_kernels_alone() -> None:
    network = Inception()
    before = from_torch(network, (IMAGE,))
    thinned = Inception()
    thinned.load_state_dict(network.state_dict())
    with torch.no_grad():
        thinned.stem.weight[:, 0] = 0
    after = from_torch(thinned, (IMAGE,))
    assert [*map(record_of, torch_calls(before, 1))] == [*map(record_of, torch_calls(after, 1))]
    (stem,) = (call for call in our_calls(after, 1) if call.name == "stem")
    assert stem.features["density"] == pytest.approx(2 / 3)


@pytest.fixture
def machine() -> Machine:
    return connect([make_device("cpu", "cpu", {"cores": [0]})], [], "cpu")


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (prediction, training):
        monkeypatch.setattr(module, "LEAST", 3)
    monkeypatch.setattr(prediction, "_LEAST_OF_A_KIND", 1)


def test_nothing_measured_tells_what_to_do(machine: Machine, tmp_path: Path) -> None:
    graph = from_torch(Inception(1), (IMAGE,))
    for path in (None, tmp_path / "costs.sqlite"):
        with pytest.raises(PredictionError, match=r"0 calls were measured of ours .* bench\.cost_prediction"):
            cost_operators(graph, operators(graph), machine, (IMAGE,), cache=CostCache(path), measure=False)


@pytest.mark.usefixtures("few_are_enough")
def test_what_is_measured_teaches_what_is_not(machine: Machine, tmp_path: Path) -> None:
    cache = CostCache(tmp_path / "costs.sqlite")
    small, other = (from_torch(Inception(count), (IMAGE,)) for count in (1, 3))
    pieces = operators(small, "layer")
    measured = cost_operators(small, pieces, machine, (IMAGE,), cache=cache)
    assert {cost.origin for found in measured.costs.values() for cost in found} == {"measured"}
    again = cost_operators(small, pieces, machine, (IMAGE,), cache=cache, measure=False)
    assert again.costs == measured.costs
    costs = cost_operators(other, operators(other, "layer"), machine, (IMAGE,), cache=cache, measure=False)
    origins = {name: {cost.origin for cost in found} for name, found in costs.costs.items()}
    assert origins["stem"] == {"measured"}  # it is the same as the small network's
    assert origins["mixed.1.one"] == {"predicted"}
    for found in costs.costs.values():
        assert {cost.implementation for cost in found} == {OURS, TORCH}
        assert all(0 <= cost.seconds < 1 for cost in found)
    whole = cost_operators(other, operators(other, "model"), machine, (IMAGE,), cache=cache, measure=False)
    ((ours, theirs),) = whole.costs.values()
    assert (ours.origin, theirs.origin) == ("predicted", "predicted")
    total = sum(cost.seconds for found in costs.costs.values() for cost in found)
    assert ours.seconds + theirs.seconds == pytest.approx(total)


@pytest.mark.usefixtures("few_are_enough")
def test_an_operator_is_as_sure_as_its_least_sure_layer(machine: Machine, tmp_path: Path) -> None:
    cache, graph = CostCache(tmp_path / "costs.sqlite"), from_torch(TopOf(), (IMAGE,))
    (device,) = machine.devices
    for implementation, calls in ((OURS, our_calls(graph, 1)), (TORCH, torch_calls(graph, 1))):
        known = [call for call in calls if "topk" not in call.kind]
        keep(cache, setting(device, implementation), known, {call.name: 1e-4 for call in known})
    whole = operators(graph, "model")
    costs = cost_operators(graph, whole, machine, (IMAGE,), cache=cache, measure=False)
    assert {cost.origin for found in costs.costs.values() for cost in found} == {"roofline"}


def test_settings_are_learned_from_apart(lawful: list[Sample], tmp_path: Path) -> None:
    cache = CostCache(tmp_path / "costs.sqlite")
    calls = [each.call for each in lawful]
    keep(cache, "here", calls, {each.call.name: each.seconds for each in lawful})
    keep(
        cache, "here", calls, {each.call.name: 2 * each.seconds for each in lawful}
    )  # replaces what was known
    (call, *_) = lawful_calls(1, seed=7)
    ((seconds, _),) = predictor(cache, "here").predict([call])
    assert seconds == pytest.approx(2 * law(call), rel=0.2)
    with pytest.raises(PredictionError, match="of there, and"):
        predictor(cache, "there")
