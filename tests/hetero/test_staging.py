"""A model's stages from end to end: planned, compiled, written down, simulated; and chains left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sparsegen.compiler import compile_plan
from sparsegen.devices import make_device
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.placing import Subject
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.stages.handover import joined
from sparsegen.hetero.stages.search import Terms, best_stages, chained
from sparsegen.hetero.stages.staged_plan import staged_plan
from sparsegen.hetero.stages.staging import Staged, layer_stages, sequential_plan, stage
from sparsegen.hetero.stages.units import units_of

X = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
TEAM = 2
pytestmark = pytest.mark.filterwarnings("ignore:2 threads on")


class Cell(nn.Module):
    """Branches of unlike lengths that meet, twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.branches = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(length))) for length in (1, 2, 3, 2)
        )
        self.first, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        a, b, c, d = (branch(x) for branch in self.branches)
        return self.last(torch.cat([a + b, c + d], 1))


def graph_of(module: nn.Module) -> LayerGraph:
    return from_torch(module.eval(), (X,))


def staged_cell() -> tuple[LayerGraph, Staged]:
    """The cell in stages, by times that are made up: all layers alike, and no faster on two threads."""
    graph = graph_of(Cell())
    plan = sequential_plan(graph, TEAM)
    times = {layer.name: {1: 1e-3, 2: 1e-3} for layer in plan.graph.layers}
    units = tuple(units_of(plan.graph, times, longest=1.5e-3))
    terms = Terms(threads=TEAM)
    found = chained(joined(units, best_stages(units, terms).stages, terms))
    model = compile_plan(plan.staged(layer_stages(found, units)))
    seconds = {"sequential": 14e-3, "one thread": 14e-3, "stages": 8e-3}
    return graph, Staged(model, tuple(found), units, seconds, times, 1.0)


def test_a_plan_of_stages_is_sound_and_computes_the_model() -> None:
    graph, staged = staged_cell()
    assert any(len(each.groups) == TEAM for each in staged.found)
    device = make_device("cpu", "cpu", {"cores": [0, 1]})
    plan = staged_plan(staged, device, Subject("cell", model_fingerprint(graph), "a cpu"))
    assert faults(plan) == []
    assert plan.makespan < 14e-3
    assert simulate(plan).makespan == pytest.approx(plan.makespan)
    layers = [layer for each in plan.operators for layer in each.layers]
    assert len(layers) == len(set(layers))
    with torch.no_grad():
        expected = Cell().double()(X.double())
    torch.testing.assert_close(staged.model(X).double(), expected, rtol=1e-4, atol=1e-5)


def test_a_chain_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)))
    staged = stage(graph_of(chain), (X,), threads=TEAM)
    assert not staged.gains
    assert staged.model.program.stages == ()


def test_one_thread_has_no_stages() -> None:
    staged = stage(graph_of(Cell()), (X,), threads=1)
    assert not staged.gains


def test_stages_that_do_not_gain_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"sequential": 1.0, "one thread": 1.5, "stages": 0.99}
    monkeypatch.setattr("sparsegen.hetero.stages.staging._whole_calls", lambda models, inputs: slow)
    staged = stage(graph_of(Cell()), (X,), threads=TEAM)
    assert not staged.gains
    assert staged.model.threads == TEAM
    quick = replace(staged, found=(), seconds=slow)
    assert not quick.gains
