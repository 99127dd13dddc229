"""Accumulators are in registers: nothing of them is in memory that a call allocates."""

from __future__ import annotations

import re

import pytest

from sparsegen.graph import Linear
from sparsegen.kernels.linear_schedule import masked_linear
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.winograd import WinogradSchedule
from sparsegen.lowering.layout import plan_layout
from sparsegen.target import parse_target
from tests.kernels.contract import conv_graph, single, weights
from tests.lowering.assembly import assembly, generated

ONE_BLOCK = PanelSchedule(rows=3, tile_h=1, tile_w=4, block=16, chunk=2)
BLOCKS = PanelSchedule(rows=3, tile_h=1, tile_w=4, block=8, chunk=4)
TILES = WinogradSchedule(outputs=4, rows=4, tiles_h=1, tiles_w=1, chunk=3)


@pytest.mark.parametrize("cpu", ["skylake-avx512", "haswell"])
@pytest.mark.parametrize(
    ("knobs", "batch", "allocated"),
    [(ONE_BLOCK, 16, 0), (ONE_BLOCK, 1, 0), (BLOCKS, 16, 1), (TILES, 16, 2)],
    ids=["panels", "panels, pixel lanes", "sums of blocks", "tiles and products"],
)
def test_only_what_is_too_large_for_registers_is_allocated(
    knobs: KernelSchedule, batch: int, allocated: int, cpu: str
) -> None:
    graph = conv_graph(weights((12, 16, 3, 3)), (batch, 16, 8, 8), padding=(1, 1, 1, 1))
    code = generated(graph, parse_target(cpu, elsewhere=True), knobs).inspect_source("ll")
    assert len(re.findall(r"load ptr, ptr @__TVMBackendAllocWorkspace", code)) == allocated


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize(("rows", "tiles"), [(6, 2), (2, 6), (4, 3)])
def test_sums_of_tiles_stay_in_registers(rows: int, tiles: int, batch: int) -> None:
    """Of AVX2's 16 registers twelve are sums: no more than three are left for weights and tiles."""
    graph = conv_graph(weights((12, 16, 3, 3), "dense"), (batch, 16, 48, 8), padding=(1, 1, 1, 1))
    knobs = WinogradSchedule(outputs=4, rows=rows, tiles_h=tiles, tiles_w=1, chunk=12 // rows)
    code = assembly(graph, parse_target("haswell", elsewhere=True), knobs)
    blocks = re.split(r"^\.LBB\S+:|^\s+j\w+\s", code, flags=re.MULTILINE)
    products = [each for each in blocks if "prefetcht0" in each and each.count("vfmadd") >= rows * tiles]
    assert products
    assert not any(re.search(r"ymm\d+, \d*\(%rsp\)|\(%rsp\), %ymm", block) for block in products)


@pytest.mark.parametrize("cpu", ["znver5", "skylake-avx512"])
@pytest.mark.parametrize("rows", [1, 4, 8])
def test_a_vector_is_expanded_in_place(rows: int, cpu: str) -> None:
    """The instruction waits for the register that it writes, if that is not the one that it reads."""
    target = parse_target(cpu, elsewhere=True)
    graph = single(Linear(weights((200, 64)), None), (rows, 64), (rows, 200))
    knobs = masked_linear(plan_layout((rows, 200), lanes=16, batch_lanes=False), target, threads=1)
    code = assembly(graph, target, knobs)
    expanded = re.findall(r"vexpandps\s+(%zmm\d+), (%zmm\d+) \{%k\d\}(.*)", code)
    assert len(expanded) >= knobs.vectors
    assert all(read == written and not zeroed.strip() for read, written, zeroed in expanded)
    assert "prefetch" in code
    assert not re.search(r"vmovu?ps\s+%zmm\d+, \d*\(%rsp\)", code)  # nothing is spilled
