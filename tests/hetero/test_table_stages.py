"""A model in stages on a table: sound, as fast as its simulation, emulated, and checked on its own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsegen.devices import Machine, connect, make_device, with_host
from sparsegen.frontend import from_torch
from sparsegen.hetero.api import find_plan
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.plan import PASSED_ON, Plan
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.hetero.running.simulator import simulate
from tests.hetero.models import Branches

X = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))


def gpu(elements: str = "10000", capacity: str = "1", link: Mapping[str, Any] | None = None) -> Machine:
    """A device that an operator with so many elements fills; on a host that starts it, with a link."""
    content: dict[str, Any] = {
        "title": "a GPU",
        "dtype": "float32",
        "rates": {"float32": {"other": {"value": "1 GFLOP/s", "source": "recalled"}}},
        "overheads": {
            "operator": {"value": "1 ms", "source": "recalled"},
            "invocation": {"value": "0 us" if link is None else "3 ms", "source": "recalled"},
        },
        "utilisation": {
            "capacity": {"value": float(capacity), "source": "recalled"},
            "elements": {"value": float(elements), "source": "recalled"},
        },
    }
    content |= {"link": {"latency": "2 ms", "bandwidth": "1 MB/s", **link}} if link is not None else {}
    devices, host = with_host([make_device("gpu", "profile", {"table": content})])
    return connect(devices, [], host)


def planned(module: nn.Module, machine: Machine, x: Tensor = X) -> Plan:
    graph = from_torch(module.eval(), (x,))
    return find_plan(graph, machine, (x,), measure=False).plan


@pytest.mark.parametrize(
    ("elements", "capacity"), [("10000", "1"), ("3000", "1"), ("3000", "2"), ("2048", "0.5"), ("100000", "1")]
)
def test_a_plan_is_sound_and_takes_what_its_simulation_takes(elements: str, capacity: str) -> None:
    plan = planned(Branches(), gpu(elements, capacity))
    assert faults(plan) == []
    assert simulate(plan).makespan == pytest.approx(plan.makespan)
    assert plan.bound <= plan.makespan * (1 + 1e-9)
    if plan.form == "stages":
        assert plan.alternatives is not None
        assert plan.makespan < plan.alternatives["sequential, gpu"]
        assert plan.makespan <= plan.alternatives["greedy stages, gpu"]
    assert from_json(to_json(plan)) == plan


def test_operators_at_once_that_fill_more_than_the_device_slow_each_other_down() -> None:
    plan = planned(Branches(), gpu("3000"))
    assert plan.form == "stages"
    slowed = [each for each in plan.operators if each.end - each.start > each.seconds * 1.01]
    assert slowed
    assert all(each.utilisation < 1 for each in slowed)


@pytest.mark.parametrize(("elements", "form"), [("10000", "stages"), ("1", "sequential")])
def test_stages_are_planned_only_where_operators_leave_room(elements: str, form: str) -> None:
    plan = planned(Branches(), gpu(elements))
    assert plan.form == form
    assert plan.optimal == (plan.makespan <= plan.bound * (1 + 1e-9))


def test_a_chain_is_left_as_it_is() -> None:
    chain = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))
    plan = planned(chain, gpu())
    assert (plan.form, plan.optimal) == ("sequential", True)
    assert plan.alternatives == {"greedy stages, gpu": pytest.approx(plan.makespan)}


def test_stages_on_a_table_are_emulated(no_thread_left: None) -> None:
    module = Branches().eval()
    graph = from_torch(module, (X,))
    found = find_plan(graph, gpu(), (X,), measure=False)
    assert found.plan.form == "stages"
    with PlannedModel.of(found, graph) as model, torch.no_grad():
        for result in model.map([X, X]):
            torch.testing.assert_close(result, module(X), rtol=1e-4, atol=1e-5)
        timeline = model.timeline()
    assert timeline is not None
    assert timeline.makespan >= found.plan.makespan * (1 - 1e-9)


def test_an_operator_that_runs_shorter_than_its_neighbours_let_it_is_refused() -> None:
    plan = planned(Branches(), gpu("3000"))
    (first, *_) = (each for each in plan.operators if each.implementation != PASSED_ON)
    faster = replace(
        plan, operators=tuple(replace(o, seconds=o.seconds / 2) if o is first else o for o in plan.operators)
    )
    assert any(f"operator {first.name} takes" in fault for fault in faults(faster))
    fuller = replace(plan, operators=tuple(replace(o, utilisation=1.0) for o in plan.operators))
    assert any("and runs for" in fault for fault in faults(fuller))


HOSTED: tuple[dict[str, Any], ...] = ({}, {"exclusive": True})


class TwoResults(nn.Module):
    """Branches of two inputs, with a result each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(x), self.right(y)


@pytest.mark.parametrize("link", HOSTED)
@pytest.mark.parametrize("elements", ["10000", "3000", "1"])
def test_stages_on_a_device_that_hangs_on_a_host(
    link: dict[str, Any], elements: str, no_thread_left: None
) -> None:
    """Its start, the input's way and the result's count; inputs and results are where they are held."""
    machine = gpu(elements, link=link)
    for module, inputs in ((Branches().eval(), (X,)), (TwoResults().eval(), (X, X + 1))):
        graph = from_torch(module, inputs)
        plan = find_plan(graph, machine, inputs, measure=False).plan
        assert faults(plan) == []
        assert from_json(to_json(plan)) == plan
        assert simulate(plan).makespan == pytest.approx(plan.makespan)
        assert len(inputs) > 1 or plan.form == ("placed" if elements == "1" else "stages")
        assert plan.bound <= plan.makespan * (1 + 1e-9)
        sent = 2e-3 + 4 * X.numel() / 1e6
        there, back = (sum(each.target == name for each in plan.transfers) for name in ("gpu", "host"))
        assert there == back == len(inputs)
        assert plan.makespan >= 3e-3 + 2 * sent
        if len(inputs) == 1:
            free = find_plan(graph, gpu(elements), inputs, measure=False).plan
            assert plan.makespan == pytest.approx(free.makespan + 3e-3 + 2 * sent, rel=1e-3)
        with PlannedModel(plan, graph, machine) as model, torch.no_grad():
            torch.testing.assert_close(model(*inputs), module(*inputs), rtol=1e-4, atol=1e-5)
