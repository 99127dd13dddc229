"""Cores that are all busy: how much slower they are told to be, and where that is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from sparsegen.devices import make_device
from sparsegen.devices.machine import connect
from sparsegen.frontend import from_torch
from sparsegen.hetero.costs import together
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.costs.together import beside_each_other, slowdown
from sparsegen.hetero.operators.export import OperatorCost


def test_calls_that_wait_for_each_other_are_slower_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that serves one core at a time: a call takes twice as long beside another one."""
    monkeypatch.setattr(together, "on_cores", lambda cores, work: work())
    calling: list[int] = []

    def call(core: int) -> None:
        calling.append(core)
        time.sleep(3e-3)
        if len(set(calling)) > 1:
            time.sleep(3e-3)
        calling.remove(core)

    assert slowdown({0: lambda: call(0), 1: lambda: call(1)}) > 1.3


def test_costs_of_single_cores_alone_are_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = from_torch(nn.Linear(4, 4).eval(), (torch.ones(2, 4),))
    cores = [make_device(f"core{n}", "cpu", {"cores": [0]}) for n in range(2)]
    board = make_device("board", "profile", {"table": "arm-a53x4"})
    machine = connect([*cores, board], [], "core0")
    costs = Costs(
        {
            "linear": tuple(
                OperatorCost(name, "ours", 1, 1.0, "measured") for name in ("core0", "core1", "board")
            )
        },
        {},
    )
    monkeypatch.setattr(together, "slowdown", lambda calls: 1.25)
    cache = CostCache(tmp_path / "costs.sqlite")
    found = beside_each_other(graph, costs, machine, (torch.ones(2, 4),), cache)
    assert [each.seconds for each in found.costs["linear"]] == [1.25, 1.25, 1.0]
    monkeypatch.setattr(together, "slowdown", lambda calls: pytest.fail("measured again"))
    assert beside_each_other(graph, costs, machine, (torch.ones(2, 4),), cache).costs == found.costs
    alone = connect([cores[0], board], [], "core0")
    assert beside_each_other(graph, costs, alone, (torch.ones(2, 4),), cache) is costs
