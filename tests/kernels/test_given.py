"""Schedules that a caller gives: what would compute something else is refused, what is only odd is right."""

from __future__ import annotations

import pytest

from sparsegen.compiler import compile_graph
from sparsegen.errors import SparsegenError
from sparsegen.graph import LayerGraph, Linear, Pool2d
from sparsegen.kernels.grouped_schedule import GroupedSchedule
from sparsegen.kernels.linear_schedule import LinearSchedule
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.pool_schedule import PoolSchedule
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.winograd import WinogradSchedule
from tests.kernels.contract import LAYERS, check, conv_graph, single, weights

SAME = (1, 1, 1, 1)


def conv(batch: int, *size: int) -> LayerGraph:
    return conv_graph(weights((13, 7, 3, 3)), (batch, 7, *size), padding=SAME)


def linear(rows: int) -> LayerGraph:
    return single(Linear(weights((67, 37)), None), (rows, 37), (rows, 67))


GRAPHS = {
    "conv": conv(16, 9, 20),
    "conv, pixel lanes": conv(1, 17, 5),
    "grouped": LAYERS["grouped"](16),
    "tokens": LAYERS["linear of a sequence"](16),
    "1x1": LAYERS["1x1"](16),
    "linear": linear(3),
    "pool": single(Pool2d("max", (2, 2), (2, 2)), (1, 3, 8, 8), (1, 3, 4, 4)),
}


@pytest.mark.parametrize(
    ("name", "schedule", "reason"),
    [
        ("conv", PanelSchedule(2, 1, 17, 4, 1), "tiles have 1 by 17 .* at most 16"),
        ("conv", PanelSchedule(2, 1, 2, 4, 0), "chunk is 0; at least 1"),
        ("conv", PanelSchedule(32, 1, 1, 4, 1), "panels have 32 rows; at most 31"),
        ("conv", PanelSchedule(2, 1, 2, 4, 1, format="csr"), "no format 'csr', but .*masked_panels"),
        (
            "conv",
            PanelSchedule(2, 1, 2, 4, 1, parallel="rows"),
            "parallel is 'rows'; it may be tiles or panels",
        ),
        ("tokens", PanelSchedule(2, 1, 0, 4, 1), "tile_w is 0; at least 1"),
        ("tokens", PanelSchedule(2, 1, 4, 4, 1), "tiles have 1 by 4 .* 1 by 6 of them cut evenly"),
        ("conv", WinogradSchedule(4, 2, 2, 1, 1), "tiles_h has to divide 3, tiles_w 5, and chunk 7"),
        ("conv", WinogradSchedule(4, 2, 1, 1, 2), "tiles_h has to divide 3, tiles_w 5, and chunk 7"),
        ("conv", WinogradSchedule(3, 2, 1, 1, 1), "outputs is 3; it may be 2 or 4 or 6"),
        ("conv", WinogradSchedule(4, 0, 1, 1, 1), "rows is 0; at least 1"),
        ("conv, pixel lanes", WinogradSchedule(4, 2, 1, 1, 1), "vectors reach past the rows' ends"),
        ("1x1", WinogradSchedule(4, 2, 1, 1, 1), "does not serve such a layer"),
        ("grouped", GroupedSchedule(2, 1, 4), "rows has to divide the 6 output channels"),
        ("grouped", GroupedSchedule(17), "at most 16 pixel vectors"),
        ("grouped", GroupedSchedule(0), "tile_w is 0; at least 1"),
        ("linear", LinearSchedule(3, 2, "csr"), "no format 'csr', but dense, masked_vectors"),
        ("linear", LinearSchedule(2, 4, "masked_vectors"), "masked_vectors take .* all 3 rows"),
        ("linear", LinearSchedule(0, 4), "rows is 0; at least 1"),
        ("pool", PoolSchedule(True, 1, True, True), "nested is 1; it may be 0"),
    ],
)
def test_what_would_compute_something_else_is_refused(
    name: str, schedule: KernelSchedule, reason: str
) -> None:
    with pytest.raises(SparsegenError, match=rf"layer 'layer' cannot have the schedule .*: .*{reason}"):
        compile_graph(GRAPHS[name], threads=1, target="haswell", schedules={"layer": schedule})


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("conv", PanelSchedule(16, 1, 1, 100, 9, format="dense_panels")),  # more of all than there is
        ("conv", PanelSchedule(1, 11, 1, 4, 1)),
        ("conv", WinogradSchedule(4, 16, 1, 1, 1)),
        ("grouped", GroupedSchedule(12)),
        ("linear", LinearSchedule(5, 9)),
    ],
)
def test_what_is_only_odd_is_right(name: str, schedule: KernelSchedule) -> None:
    check(GRAPHS[name], threads=2, schedules={"layer": schedule})


def test_winograd_switched_off_is_not_given_either() -> None:
    knobs = WinogradSchedule(2, 2, 1, 1, 1)
    with pytest.raises(SparsegenError, match="Winograd's filtering is switched off"):
        compile_graph(GRAPHS["conv"], threads=1, schedules={"layer": knobs}, winograd=False)


def test_a_schedule_of_no_layer_is_refused() -> None:
    with pytest.raises(SparsegenError, match="schedules are given for layers: no layer is called so"):
        compile_graph(GRAPHS["linear"], threads=1, schedules={"layers": LinearSchedule(1, 1)})


def test_a_schedule_of_another_kernel_is_not_told_as_given() -> None:
    given = {"layer": PanelSchedule(1, 1, 1, 1, 1)}
    compiled = compile_graph(GRAPHS["linear"], threads=1, schedules=given, database=None)
    assert [layer.schedule_source for layer in compiled.layers] == ["default"]
