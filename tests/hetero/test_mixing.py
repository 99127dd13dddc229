"""Our kernels and torch's in one program: which layers are torch's, and when such a program is taken."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.devices import make_device
from sparsegen.devices.machine import Machine, connect
from sparsegen.errors import OptionError
from sparsegen.frontend import from_torch
from sparsegen.graph import Extern
from sparsegen.hetero.api import plan
from sparsegen.hetero.costs import mixing
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.mixing import Mix, faster_in_torch, fastest, mix_on
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.plan import MIXED
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.kernels.torch_own import given_to_torch, torchs_layers
from tests.frontend.checking import images

X = images(2, 3, 9, 9)


class Mixable(nn.Module):
    """A convolution with a ReLU, a pooling, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.first, self.second = nn.Linear(54, 8), nn.Linear(8, 4)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.conv(x).relu(), 3)
        return self.second(self.first(x.flatten(1)).relu())


@pytest.fixture(scope="module")
def model() -> Mixable:
    torch.manual_seed(0)
    return Mixable()


def machine() -> Machine:
    """One core of this machine."""
    return connect([make_device("cpu", "cpu", {"cores": sorted(os.sched_getaffinity(0))[:1]})], (), "cpu")


@torch.no_grad()
def agrees(model: nn.Module, found: Any) -> None:
    torch.testing.assert_close(found, model(X), rtol=1e-4, atol=1e-5)


def test_layers_are_given_to_torch(model: Mixable) -> None:
    graph = from_torch(model, (X,))
    able = torchs_layers(graph)
    assert able == {"conv", "first", "second"}
    for names in ({"conv"}, {"first", "second"}, able):
        given = given_to_torch(graph, names)
        theirs = {layer.name.partition("#")[0] for layer in given.layers if isinstance(layer.core, Extern)}
        assert theirs == names
        agrees(model, compile_graph(given, threads=1)(X))
    assert given_to_torch(graph, ()).layers == graph.layers
    pooling = next(layer.name for layer in graph.layers if layer.name not in able)
    with pytest.raises(OptionError, match=f"torch has no operator for layer '{pooling}'"):
        given_to_torch(graph, {pooling, "conv"})


def test_torch_gets_what_it_computes_faster(model: Mixable) -> None:
    graph = from_torch(model, (X,))
    ours = {layer.name: 1e-3 for layer in graph.layers}
    torchs = {**ours, "conv": 0.5e-3, "first": 0.95e-3, "second": 1e-3 - 1e-9}
    torchs |= {name: 1e-6 for name in ours if name not in torchs_layers(graph)}
    assert faster_in_torch(graph, {"ours": ours, "torch": torchs}, 1) == {"conv"}
    slight = {**torchs, "conv": 1e-9}, {**ours, "conv": 2e-9}  # bringing the values there takes longer
    assert faster_in_torch(graph, {"ours": slight[1], "torch": slight[0]}, 1) == set()


def test_what_cannot_gain_is_not_called(model: Mixable, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, (device,) = from_torch(model, (X,)), machine().devices
    monkeypatch.setattr(mixing, "_measured", lambda *_: pytest.fail("it was called"))
    ours = {layer.name: 1e-3 for layer in graph.layers}
    torchs = {**ours, "first": 9e-3, "second": 0.89e-3}  # the second gains too little of the whole
    ours["conv"] = torchs["conv"] = 10e-3
    mix = mix_on(device, graph, {"ours": ours, "torch": torchs}, (X,), CostCache(None))
    assert (mix.implementation, mix.by_torch) == ("ours", frozenset())
    assert mix.seconds == {"ours": sum(ours.values()), "torch": sum(torchs.values())}


@pytest.mark.parametrize(
    ("ours", "torchs", "mixed", "taken"),
    [
        (1.0, 1.2, None, "ours"),
        (1.0, 0.99, None, "ours"),
        (1.0, 0.9, None, "torch"),
        (1.0, 0.9, 0.89, "torch"),
        (1.0, 1.2, 0.99, "ours"),
        (1.0, 1.2, 0.9, "mixed"),
        (1.2, 1.0, 0.9, "mixed"),
        (1.0, 1.0, 1.1, "ours"),
    ],
)
def test_a_mix_is_taken_where_it_gains(ours: float, torchs: float, mixed: float | None, taken: str) -> None:
    found = {"ours": ours, "torch": torchs} | ({} if mixed is None else {"mixed": mixed})
    assert fastest(found) == taken


@pytest.mark.usefixtures("no_thread_left")
@pytest.mark.parametrize("implementation", ["ours", "torch", "mixed"])
def test_a_plan_runs_by_one_implementation(
    implementation: str, model: Mixable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"ours": 3e-3, "torch": 4e-3, "mixed": 2e-3}
    monkeypatch.setattr(mixing, "mix_on", lambda *_: Mix(implementation, frozenset({"conv"}), seconds))
    there = machine()
    with plan(model, (X,), devices=there, cache=CostCache(tmp_path / "costs.sqlite")) as made:
        (only,) = (each for each in made.plan.operators if each.layers)
        assert only.implementation == implementation
        assert only.by_torch == (("conv",) if implementation == MIXED else ())
        assert only.seconds == pytest.approx(seconds[implementation])
        agrees(model, made(X))
        kept = from_json(to_json(made.plan))
        assert kept == made.plan
    with PlannedModel(kept, from_torch(model, (X,)), there) as again:
        agrees(model, again(X))
    with PlannedModel(replace(kept, depth=1), from_torch(model, (X,)), there) as again:
        agrees(model, again(X))


@pytest.mark.usefixtures("no_thread_left")
def test_what_is_taken_was_measured_to_be_fastest(model: Mixable, tmp_path: Path) -> None:
    cache = CostCache(tmp_path / "costs.sqlite")
    chosen = []
    for _ in range(2):
        with plan(model, (X,), devices=machine(), cache=cache) as made:
            assert made.costs is not None
            whole: dict[str, float] = {}
            for told in made.costs.costs.values():
                for each in told:
                    whole[each.implementation] = whole.get(each.implementation, 0.0) + each.seconds
            taken = {each.implementation for each in made.plan.operators if each.layers}
            assert taken == {fastest(whole)}
            chosen.append((taken, whole))
            agrees(model, made(X))
    assert chosen[0] == chosen[1]  # what whole calls take is kept
