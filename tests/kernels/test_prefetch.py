"""What is fetched ahead: the next tile's input, by its chunk's visits; a panel's residual, by its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tvm import tirx

from sparsegen.graph import Step
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import Value
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.panels.prefetch import plan_operand_prefetch, plan_prefetch
from tests.kernels.test_choose import WIDE, problem

KNOBS = PanelSchedule(rows=2, tile_h=1, tile_w=2, block=2, chunk=2, parallel="panels")


@pytest.mark.parametrize(("batch", "stride"), [(32, 1), (16, 2), (1, 1)])
def test_a_task_fetches_the_next_tile_of_its_chunk(batch: int, stride: int) -> None:
    case = problem(WIDE, batch=batch, channels=4, out=8, size=12, kernel=3, stride=stride)
    by_panels = plan_prefetch(case, 4, KNOBS)
    by_tiles = plan_prefetch(case, 2, replace(KNOBS, parallel="tiles"))  # a tile is one task
    assert by_panels is not None
    assert by_tiles is not None
    tiles = case.tiles(KNOBS)
    for tile in range(tiles):
        for block in range(2):
            first, second = (
                [
                    (int(group), int(address))
                    for visit in range(2)
                    for _, group, address, exists in by_panels(chunk * tiles + tile, block, visit, None)
                    if exists is None or bool(exists)
                ]
                for chunk in range(2)
            )
            expected = [
                (int(group), int(address))
                for visit in range(2)
                for _, group, address, _ in by_tiles((tile + 1) % tiles - 1, block, visit, None)
            ]
            assert first == second == expected


@pytest.mark.parametrize("chunk", [1, 3, 8, 50])
@pytest.mark.parametrize(("batch", "stride"), [(16, 1), (16, 2), (1, 1)])
def test_the_visits_of_a_tile_fetch_its_lines_once(batch: int, stride: int, chunk: int) -> None:
    case = problem(WIDE, batch=batch, channels=4, out=8, size=12, kernel=3, stride=stride)
    knobs = replace(KNOBS, tile_h=min(2, case.pixels[0]), block=4, chunk=chunk, parallel="tiles")
    plan = plan_prefetch(case, chunk, knobs)
    assert plan is not None
    fetched = [
        int(address)
        for visit in range(chunk)
        for _, _, address, exists in plan(-1, 0, visit, None)  # the first tile comes after the one before it
        if exists is None or bool(exists)
    ]
    assert sorted(fetched) == sorted(
        channel * case.plane + int(line) for channel in range(4) for line in case.lines(knobs)
    )
    if chunk == 50:
        assert plan.share == 1


def test_a_task_with_too_few_visits_for_a_tile_fetches_nothing() -> None:
    case = problem(WIDE, batch=16, channels=32, out=64, size=12, kernel=3)
    knobs = replace(KNOBS, block=32, chunk=1)
    assert plan_prefetch(case, 32, knobs) is None
    assert plan_prefetch(case, 32, replace(knobs, parallel="tiles")) is not None


@pytest.mark.parametrize("parallel", ["tiles", "panels"])
@pytest.mark.parametrize("block", [4, 2], ids=["one block", "two blocks"])
def test_visits_of_the_last_block_together_fetch_the_residual(block: int, parallel: str) -> None:
    case = problem(WIDE, batch=32, channels=4, out=8, size=6, kernel=1)
    epilogue = Epilogue([Step("add", operand="residual")], {"residual": Value("residual", case.out)})
    knobs = replace(KNOBS, tile_h=2, tile_w=3, block=block, parallel=parallel)
    fetched = plan_operand_prefetch(case, 4, knobs, epilogue)
    assert fetched is not None
    blocks = 4 // block
    last = [tirx.const(i == blocks - 1, "bool") for i in range(blocks)] if blocks > 1 else [None]
    lines = [
        (number, int(group), int(address))
        for task in range(2 * case.tiles(knobs))
        for of_block in range(blocks)
        for panel in range(2)
        for number, group, address, exists in fetched(task, of_block, panel, last[of_block])
        if exists is None or bool(exists)
    ]
    residual = [
        (-2, group, int(case.out.address((channel, y, x))))
        for group in range(2)
        for channel in range(8)
        for y in range(6)
        for x in range(6)
    ]
    assert sorted(lines) == residual
