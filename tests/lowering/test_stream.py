"""Outputs larger than the last-level cache are stored past it, where whole vectors begin lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from sparsegen import compiler
from sparsegen.graph import LayerGraph, Linear
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.winograd import WinogradSchedule
from sparsegen.target import parse_target
from tests.kernels.contract import check, conv_graph, single, weights
from tests.lowering.assembly import assembly
from tests.sampling import large

BLOCKS = PanelSchedule(rows=3, tile_h=1, tile_w=4, block=8, chunk=2)
TILES = WinogradSchedule(outputs=4, rows=4, tiles_h=1, tiles_w=1, chunk=3)
PIXEL_LANES = WinogradSchedule(outputs=4, rows=4, tiles_h=1, tiles_w=1, chunk=1)
STREAMED = "vmovntps"


def convolution(batch: int) -> LayerGraph:
    return conv_graph(weights((12, 16, 3, 3), "half"), (batch, 16, 9, 9), padding=(1, 1, 1, 1))


def depthwise(batch: int) -> LayerGraph:
    return conv_graph(weights((16, 1, 3, 3)), (batch, 16, 9, 9), padding=(1, 1, 1, 1), groups=16)


def linear(batch: int) -> LayerGraph:
    return single(Linear(weights((24, 16)), None), (batch, 16), (batch, 24))


@pytest.mark.parametrize("name", ["native", "haswell"])
@pytest.mark.parametrize(
    ("graph", "schedule"),
    [(convolution, BLOCKS), (convolution, TILES), (depthwise, None), (linear, None)],
    ids=["panels", "winograd", "depthwise", "linear"],
)
def test_an_output_beyond_the_caches_is_stored_past_them(
    graph: Callable[[int], LayerGraph], schedule: KernelSchedule | None, name: str
) -> None:
    target = parse_target(name)
    code = assembly(graph(16), replace(target, l3_bytes=0), schedule)
    assert STREAMED in code
    assert "sfence" in code
    kept = assembly(graph(16), target, schedule)
    assert STREAMED not in kept
    assert "sfence" not in kept


def test_vectors_that_lie_across_lines_are_stored_as_ever() -> None:
    """A non-temporal store of such a one would fault."""
    code = assembly(convolution(1), replace(parse_target(), l3_bytes=0), PIXEL_LANES)
    assert STREAMED not in code


@large(
    ("graph", "batch", "threads"),
    itertools.product([convolution, depthwise, linear], [1, 16, 20], [1, 2]),
    sample=9,
)
def test_results_are_the_same(
    graph: Callable[[int], LayerGraph], batch: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "parse_target", lambda name: replace(parse_target(name), l3_bytes=0))
    check(graph(batch), threads=threads)
