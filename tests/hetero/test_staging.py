"""A model's stages from end to end: planned, compiled, written down, simulated; and chains left alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparsegen.compiler import compile_plan, default_plan
from sparsegen.devices import Device, connect, make_device
from sparsegen.errors import InputError, PlanError
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from sparsegen.hetero.api import find_plan
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.options import PlaceOptions
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.placing import Subject
from sparsegen.hetero.plans.plan import Plan
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.report import rejected, summary
from sparsegen.hetero.run import place
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.stages.handover import joined
from sparsegen.hetero.stages.kept import plan_in_stages
from sparsegen.hetero.stages.search import Terms, best_stages, chained
from sparsegen.hetero.stages.staged_plan import staged_plan
from sparsegen.hetero.stages.staging import Staged, layer_stages, stage
from sparsegen.hetero.stages.timed import timed_stream
from sparsegen.hetero.stages.units import units_of
from sparsegen.options import ExampleInput

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
    plan = default_plan(graph, TEAM)
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


def rounds(stages: Sequence[float]) -> dict[str, list[float]]:
    """Seconds of calls, round by round, of a sequential program that takes 1 and of stages."""
    return {"sequential": [1.0] * len(stages), "one thread": [1.5] * len(stages), "stages": [*stages]}


@pytest.mark.parametrize(
    ("stages", "gains"),
    [
        ([0.99] * 8, False),  # less than what has to be gained
        ([0.9] * 8, True),
        ([0.9] * 6 + [1.2] * 2, True),
        ([0.9] * 5 + [0.99] * 3, False),  # the median gains, and three rounds of eight do not
    ],
)
def test_stages_have_to_gain_in_most_rounds(
    stages: list[float], gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsegen.hetero.stages.staging.rounds_in_turn", lambda calls: rounds(stages))
    staged = stage(graph_of(Cell()), (X,), threads=TEAM)
    assert staged.gains == gains
    assert staged.model.threads == TEAM
    assert bool(staged.model.program.stages) == gains


def test_stages_that_gained_once_are_timed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = iter([rounds([0.5] * 8)] * 2 + [rounds([1.1] * 8)])
    monkeypatch.setattr("sparsegen.hetero.stages.staging.rounds_in_turn", lambda calls: next(timed))
    monkeypatch.setattr("sparsegen.hetero.stages.staging._slowdown", lambda *_: 1.2)
    staged = stage(graph_of(Cell()), (X,), threads=TEAM)
    assert next(timed, None) is None
    assert not staged.gains
    assert staged.model.program.stages == ()


def kept_plan(module: nn.Module, cache: CostCache, *, measure: bool = True) -> Plan | None:
    """The plan of stages of a module on two cores, by a cache."""
    return plan_in_stages(*kept_arguments(module), cache, measure=measure).plan


def kept_arguments(module: nn.Module) -> tuple[LayerGraph, tuple[Tensor], Device, Subject]:
    graph = graph_of(module)
    device = make_device("here", "cpu", {"cores": sorted(os.sched_getaffinity(0))[:TEAM]})
    return graph, (X,), device, Subject("mine", model_fingerprint(graph), "")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < TEAM, reason="needs two cores")
@pytest.mark.parametrize("gain", [0.5, 1.1])
def test_stages_are_found_once(gain: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CostCache(tmp_path / "costs.sqlite")
    monkeypatch.setattr("sparsegen.hetero.stages.staging.rounds_in_turn", lambda calls: rounds([gain] * 8))
    assert kept_plan(Cell(), cache, measure=False) is None
    first = kept_plan(Cell(), cache)
    monkeypatch.setattr("sparsegen.hetero.stages.kept.stage", lambda *_, **__: pytest.fail("measured again"))
    assert kept_plan(Cell(), cache) == first
    tried = plan_in_stages(*kept_arguments(Cell()), cache)
    assert (first is not None) == (gain < 1)
    if first is None:
        assert tried.seconds == {"sequential": 1.0, "one thread": 1.5, "stages": gain}
        assert tried.why == (
            "timed in turn with the best rival (sequential: 1e+03 ms beside 1.1e+03), 2% faster in 0 of 8 "
            "rounds, and 6 are needed"
        )
        assert not tried.one_thread


ONE_CORE_IS_BEST = {"sequential": [1.0] * 8, "one thread": [0.4] * 8, "stages": [0.6] * 8}
"""As where another program keeps one of the two cores busy."""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < TEAM, reason="needs two cores")
@pytest.mark.parametrize("torchs", [0.5, 1.1])
def test_one_thread_is_taken_where_it_is_measured_faster(
    torchs: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stages that are slower say why they are not; torch's program on all threads is compared in turn."""
    seconds = {"sequential": 2.0, "one thread": 0.8, "ours": 3.0, "torch": 3.0 * torchs}
    monkeypatch.setattr("sparsegen.hetero.stages.staging.rounds_in_turn", lambda calls: ONE_CORE_IS_BEST)
    again = list[set[str]]()

    def timed(calls: Mapping[str, object]) -> dict[str, list[float]]:
        again.append({*calls})
        return {name: [seconds[name]] * 4 for name in calls}

    monkeypatch.setattr("sparsegen.hetero.stages.whole_calls.rounds_in_turn", timed)
    monkeypatch.setattr(
        "sparsegen.hetero.costs.mixing.seconds_in_turn", lambda calls: {name: seconds[name] for name in calls}
    )
    monkeypatch.setattr("sparsegen.hetero.costs.mixing._CLEARLY", 100.0)
    monkeypatch.setattr("sparsegen.hetero.costs.mixing.faster_in_torch", lambda *_: frozenset())
    graph, inputs, device, _ = kept_arguments(Cell())
    machine = connect([device], [], device.name)
    found = find_plan(graph, machine, inputs, cache=CostCache(tmp_path / "costs.sqlite"))
    plan = found.plan
    assert again == ([{"sequential", "one thread"}] if torchs < 1 else [])
    assert faults(plan) == []
    assert from_json(to_json(plan)) == plan
    assert (plan.makespan, plan.optimal, plan.bound) == (pytest.approx(0.4), False, 0.0)
    assert [(e.implementation, e.threads) for e in plan.operators if e.layers] == [("ours", 1)]
    assert plan.alternatives == {
        "by torch" if torchs < 1 else "all threads": pytest.approx(min(torchs, 1.0)),
        "stages of operators at once": 0.6,
        f"by {'ours' if torchs < 1 else 'torch'}": pytest.approx(max(torchs, 1.0)),
    }
    told = "not taken: stages of operators at once: 600 ms, 1.50 times as long, timed in turn with the best"
    assert told in rejected(plan)
    assert "no placement" not in summary(plan)
    with PlannedModel.of(found, graph) as model:
        torch.testing.assert_close(model(X), Cell().eval()(X).detach(), rtol=1e-4, atol=1e-5)


def test_nothing_is_called_optimal_beside_what_was_measured_faster() -> None:
    graph, staged = staged_cell()
    device = make_device("cpu", "cpu", {"cores": [0, 1]})
    plan = staged_plan(staged, device, Subject("cell", model_fingerprint(graph), ""))
    plan = replace(plan, optimal=True, bound=plan.makespan)
    found = Planned(plan, connect([device], [], "cpu"))
    assert found.beside({"slower": 2 * plan.makespan}).plan.optimal
    beaten = found.beside({"slower": 2 * plan.makespan, "faster": plan.makespan / 2}).plan
    assert (beaten.optimal, beaten.bound) == (False, plan.makespan / 2)
    assert "; faster: 3.50 ms, 0.50 times as long" in summary(beaten)


def cell() -> nn.Module:
    return Cell().eval()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < TEAM, reason="needs two cores")
def test_all_costs_are_told_of_a_plan_of_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not only what the plan has chosen: each implementation of each layer."""
    monkeypatch.setenv("SPARSEGEN_CACHE", str(tmp_path))
    monkeypatch.setattr("sparsegen.hetero.stages.staging.rounds_in_turn", lambda calls: rounds([0.5] * 8))
    cores, path = sorted(os.sched_getaffinity(0))[:TEAM], tmp_path / "devices.toml"
    path.write_text(f'[[device]]\nname = "cpu"\nkind = "cpu"\ncores = {cores}\n')
    size = ExampleInput(tuple(X.shape), whole=True)
    options = PlaceOptions(devices=path, inputs=(size,), explain="branches.1.0", export=True)
    for _ in range(2):  # found, and kept
        placed = place("tests.hetero.test_staging:cell", options)
        assert placed.plan.form == "stages"
        told = {e.operator.name: e.implementations for e in placed.export(options).operators}
        assert all({cost.implementation for cost in costs} >= {"ours", "torch"} for costs in told.values())
        assert all(cost.origin == "measured" for costs in told.values() for cost in costs)
        line, table = placed.explain(options)
        assert line.startswith("branches.1.0: in the plan on cpu, by ours")
        assert table.row_count == len(told["branches.1.0"]) >= 2


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < TEAM, reason="needs two cores")
def test_a_plan_of_stages_that_was_read_back_runs() -> None:
    graph, staged = staged_cell()
    device = make_device("cpu", "cpu", {"cores": sorted(os.sched_getaffinity(0))[:TEAM]})
    made = staged_plan(staged, device, Subject("cell", model_fingerprint(graph), ""))
    plan = from_json(json.loads(json.dumps(to_json(made))))
    with PlannedModel(plan, graph, connect([device], [], "cpu")) as model:
        assert model.compiled is not None
        assert model.compiled.program.stages == staged.model.program.stages
        assert torch.equal(model(X), staged.model(X))
        with pytest.raises(InputError, match=r"^input 1: .* has shape \(8, 16, 16\)") as raised:
            list(model.map([X, X[0], X]))
        assert raised.value.input == 1
        timeline = timed_stream(plan, model.compiled, [(X,)] * 3)
    assert len(timeline.finished) == 3
    assert {each.operator for each in timeline.events} == {each.name for each in plan.operators}
    assert all(each.start <= each.end for each in timeline.events)


def test_a_plan_of_another_cpu_is_refused() -> None:
    graph, staged = staged_cell()
    device = make_device("cpu", "cpu", {"cores": [0]})
    plan = staged_plan(staged, device, Subject("cell", model_fingerprint(graph), "power10"))
    with pytest.raises(PlanError, match="for a CPU 'power10'"):
        PlannedModel(plan, graph, connect([device], [], "cpu"))
