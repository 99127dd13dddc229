"""Lanes that lie apart are read by whole vectors: the same values, and no number on its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tvm import s_tir, te

from sparsegen.lowering.pipeline import generate, lower
from sparsegen.lowering.shuffles import SHUFFLED
from sparsegen.target import parse_target

ROWS, WIDTH, COPIES = 3, 64, 4

PLACES: dict[str, Callable[[int, Any, Any], Any]] = {  # by lanes, copy and lane: where a lane lies in a row
    "every other": lambda lanes, copy, lane: lane * 2 + copy,
    "every third, two runs": lambda lanes, copy, lane: lane // 4 * 16 + lane % 4 * 3 + copy,
    "a run": lambda lanes, copy, lane: lane + copy,
    "whole vectors": lambda lanes, copy, lane: lane,
    "backwards": lambda lanes, copy, lane: lanes - 1 + copy - lane,
    "one for all": lambda lanes, copy, lane: lane // lanes + copy,
}


class Everything:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __call__(self, point: Any, parameters: Any) -> Any:
        return point, None


def code(places: Callable[[int, Any, Any], Any], cpu: str) -> Any:
    """A function that reads COPIES vectors of every row of a buffer of its own, which holds x twice."""
    lanes = parse_target(cpu).lanes
    x = te.placeholder((ROWS, WIDTH), name="x")
    held = te.compute((ROWS, WIDTH), lambda row, at: x[row, at] * 2.0, name="held")
    shape = (ROWS, COPIES, lanes)
    apart = te.compute(shape, lambda row, copy, lane: held[row, places(lanes, copy, lane)], name="apart")
    out = te.compute(shape, lambda *point: apart[point], name="out")
    sch = s_tir.Schedule(te.create_prim_func([x, out]))
    row, *_ = sch.get_loops(sch.get_sblock("out"))
    sch.compute_at(sch.get_sblock("apart"), row)
    *_, of_copy, lane = sch.get_loops(sch.get_sblock("apart"))
    sch.unroll(of_copy)
    sch.annotate(lane, SHUFFLED, 1)
    sch.vectorize(lane)
    return generate(lower(sch.mod, Everything(shape), shape), parse_target(cpu))


@pytest.mark.parametrize("cpu", ["native", "haswell"])
@pytest.mark.parametrize("name", PLACES)
def test_every_lane_gets_its_own(name: str, cpu: str) -> None:
    lanes = parse_target(cpu).lanes
    x, out = torch.randn(ROWS, WIDTH), torch.zeros(ROWS, COPIES, lanes)
    code(PLACES[name], cpu)["main"](x, out)
    for copy in range(COPIES):
        for lane in range(lanes):
            assert torch.equal(out[:, copy, lane], x[:, PLACES[name](lanes, copy, lane)] * 2)


@pytest.mark.parametrize("cpu", ["native", "haswell"])
def test_vectors_are_loaded_whole(cpu: str) -> None:
    assembly = code(PLACES["every other"], cpu).inspect_source("asm")
    assert re.search(r"v(perm|shuf|unpck|blend)", assembly)
    assert not re.search(r"vmovss|vinsertps", assembly)
