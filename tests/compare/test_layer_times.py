"""Times by N:M ratio: every layer to prune, at every ratio, the model left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsegen.compare import layer_times
from sparsegen.compare.layer_times import measure_ratios
from sparsegen.errors import SparsegenError
from sparsegen.graph import LayerGraph
from sparsegen.pruning import budget
from sparsegen.runtime.model import CompiledModel

RATIOS = ((2, 4), (4, 4))


class Network(nn.Module):
    """A stem, a convolution that is called twice, a linear layer, a classifier, and one never called."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8, 12)
        self.unused = nn.Conv2d(8, 8, 1)
        self.classifier = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.twice(torch.relu(self.twice(self.stem(x))))))
        result: torch.Tensor = self.classifier(torch.relu(self.hidden(x.mean((2, 3)))))
        return result


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)),)


SKIP = ("stem", "unused", "classifier")


def test_every_layer_is_timed_at_every_ratio(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    densities: dict[str, list[float]] = {}
    compile_graph = layer_times.compile_graph

    def recording(graph: LayerGraph, **options: object) -> CompiledModel:
        compiled = compile_graph(graph, **options)  # type: ignore[arg-type]
        (name,) = graph.outputs
        report = next(report for report in compiled.layers if report.name == name)
        densities.setdefault(name, []).append(report.density)
        return compiled

    monkeypatch.setattr(layer_times, "compile_graph", recording)
    before = copy.deepcopy(model.state_dict())
    told: list[tuple[str, int, int]] = []
    times = measure_ratios(
        model,
        inputs,
        RATIOS,
        threads=1,
        samples=2,
        skip=SKIP,
        linear=True,
        on_progress=lambda *step: told.append(step),
    )
    assert list(times) == ["twice", "hidden"]
    assert all(list(by_ratio) == list(RATIOS) for by_ratio in times.values())
    assert all(seconds > 0 for by_ratio in times.values() for seconds in by_ratio.values())
    assert densities == {name: [0.5, 1.0] for name in ("twice", "twice#2", "hidden")}
    assert told == [(f"timing layer {name} at 2 ratios", i, 3) for i, name in enumerate(densities)]
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    layers = budget(model, times=times, budget=1.0, skip=SKIP, linear=True)
    assert [layer.name for layer in layers] == ["twice", "hidden"]


def test_calls_of_one_module_add_up(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_times, "_time", lambda layer, graph, keeps, **_: dict.fromkeys(keeps, 0.25))
    times = measure_ratios(model, inputs, RATIOS[:1], threads=1, skip=SKIP, linear=True)
    assert times == {"twice": {(2, 4): 0.5}, "hidden": {(2, 4): 0.25}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratios": ((3, 2),)}, "ratio is 3:2"),
        ({"ratios": ((1, 3),)}, "layer 'twice' has 8 input channels: 1:3 needs a multiple of 3"),
        ({"skip": None}, "layer 'unused' takes no time, as the model does not call it: list it in skip"),
        ({"threads": 0}, "threads is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"target": "z80"}, "z80"),
    ],
)
def test_what_cannot_be_measured(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(SparsegenError, match=message):
        measure_ratios(model, inputs, **{"ratios": RATIOS, "skip": SKIP, **options})  # type: ignore[arg-type]


def test_linear_layers_over_tokens_are_timed_as_what_they_become() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)).eval()
    times = measure_ratios(model, (torch.randn(1, 16, 8),), RATIOS, threads=1, samples=2, skip=())
    assert set(times) == {"0", "2"}
    assert all(set(by_ratio) == set(RATIOS) for by_ratio in times.values())
