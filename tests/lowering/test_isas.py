"""Kernels for AVX-512 and for AVX2, compiled on any machine: each takes its own vectors, and all of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sparsegen import compiler
from sparsegen.errors import ScheduleError
from sparsegen.graph import LayerGraph, Linear, Pool2d
from sparsegen.isa import AVX512, Isa
from sparsegen.kernels.grouped_schedule import GroupedSchedule
from sparsegen.kernels.linear_schedule import LinearSchedule
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.winograd import WinogradSchedule
from sparsegen.target import parse_target
from tests.kernels.contract import check, conv_graph, single, weights
from tests.lowering.assembly import assembly

SAME = (1, 1, 1, 1)
VECTORS = {"skylake-avx512": "zmm", "znver4": "zmm", "haswell": "ymm"}
MASKED = LinearSchedule(rows=2, vectors=2, format="masked_vectors")
SHORT = Isa("AVX-512VL", 32, 32, frozenset({"avx2", "fma", "avx512vl"}), AVX512.expand)


def conv(batch: int) -> LayerGraph:
    return conv_graph(weights((12, 16, 3, 3)), (batch, 16, 16, 16), padding=SAME)


def linear(rows: int) -> LayerGraph:
    return single(Linear(weights((64, 48)), None), (rows, 48), (rows, 64))


DEPTHWISE = conv_graph(weights((16, 1, 3, 3), "dense"), (16, 16, 8, 8), padding=SAME, groups=16)
POOL = single(Pool2d("max", (3, 3), (2, 2), SAME), (16, 8, 16, 16), (16, 8, 8, 8))
KERNELS: dict[str, tuple[LayerGraph, KernelSchedule | None]] = {
    "masked panels": (conv(16), PanelSchedule(rows=3, tile_h=1, tile_w=3, block=16, chunk=2)),
    "masked panels, sums of blocks": (conv(16), PanelSchedule(rows=3, tile_h=1, tile_w=3, block=8, chunk=2)),
    "masked panels, pixel lanes": (conv(1), PanelSchedule(rows=3, tile_h=1, tile_w=1, block=16, chunk=2)),
    "winograd": (conv(16), WinogradSchedule(outputs=4, rows=4, tiles_h=1, tiles_w=1, chunk=3)),
    "depthwise": (DEPTHWISE, GroupedSchedule(tile_w=4)),
    "linear": (linear(2), LinearSchedule(rows=2, vectors=2)),
}


def arithmetic(code: str, operation: str) -> set[str]:
    """The kinds of registers that an operation on packed floats takes."""
    return set(re.findall(rf"\tv{operation}\w*ps\s.*%([xyz]mm)\d+(?: \{{.*\}})*$", code, re.MULTILINE))


def spilled(code: str) -> list[str]:
    """What tasks store of vectors on the stack."""
    tasks = re.findall(r"^main_compute_\w*:(.*?)^\.Lfunc_end", code, re.MULTILINE | re.DOTALL)
    assert tasks
    return re.findall(r"vmov[au]ps\s+%[yz]mm\d+, -?\d*\(%r[sb]p\)", "".join(tasks))


@pytest.mark.parametrize("cpu", VECTORS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_multiply_adds_are_fused_and_of_whole_vectors_in_registers(kernel: str, cpu: str) -> None:
    graph, schedule = KERNELS[kernel]
    code = assembly(graph, parse_target(cpu, elsewhere=True), schedule)
    assert arithmetic(code, "fn?m(?:add|sub)") == {VECTORS[cpu]}
    assert ("zmm" in code) == (VECTORS[cpu] == "zmm")
    assert kernel == "winograd" or not spilled(code)  # whose transforms have more values than registers


@pytest.mark.parametrize("cpu", VECTORS)
def test_pooling_is_of_whole_vectors(cpu: str) -> None:
    code = assembly(POOL, parse_target(cpu, elsewhere=True))
    assert arithmetic(code, "max") == {VECTORS[cpu]}
    assert ("zmm" in code) == (VECTORS[cpu] == "zmm")


def test_masked_vectors_take_an_instruction_that_avx2_lacks() -> None:
    with pytest.raises(ScheduleError, match="masked_vectors take AVX-512, whole vectors of features"):
        assembly(linear(2), parse_target("haswell"), MASKED)


def test_an_instruction_set_is_one_record() -> None:
    """The vectors of AVX2, with the registers and masks of AVX-512."""
    target = replace(parse_target("skylake-avx512", elsewhere=True), instructions=SHORT)
    large = PanelSchedule(rows=4, tile_h=1, tile_w=6, block=16, chunk=3)  # more sums than AVX2 has registers
    for graph, schedule in ((conv(8), large), (linear(2), MASKED)):
        code = assembly(graph, target, schedule)
        assert arithmetic(code, "fn?m(?:add|sub)") == {"ymm"}
        assert "zmm" not in code
        assert not spilled(code)
    assert re.search(r"vexpandps\s+%ymm\d+, %ymm\d+ \{%k\d\}", code)


@pytest.mark.skipif(parse_target().isa != "AVX-512", reason="runs code of AVX-512")
@pytest.mark.parametrize(("graph", "schedule"), [(conv(8), None), (linear(2), MASKED)])
def test_code_of_such_a_record_is_right(
    graph: LayerGraph, schedule: KernelSchedule | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = replace(parse_target("skylake-avx512"), instructions=SHORT)
    monkeypatch.setattr(compiler, "parse_target", lambda name: target)
    check(graph, threads=1, schedules={"layer": schedule} if schedule else {})
