"""Schedules chosen without tuning: legal on every CPU, and sensible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.masked_panels import pack
from sparsegen.graph import Conv2d
from sparsegen.isa import AVX512
from sparsegen.kernels.panels import TILE_LIMIT, PanelProblem, PanelSchedule, choose
from sparsegen.kernels.panels.prefetch import plan_prefetch
from sparsegen.kernels.taps import direct_taps
from sparsegen.lowering.layout import Halo, plan_layout
from sparsegen.target import Target, parse_target
from tests.formats.test_column_combined import n_m
from tests.kernels.contract import weights
from tests.sampling import examples

WIDE = Target("znver4", AVX512, 32 << 10, 1 << 20, 32 << 20, 2, 1.0, 1.0)
NARROW = parse_target("haswell")


def problem(
    target: Target,
    *,
    batch: int,
    channels: int,
    out: int,
    size: int,
    kernel: int,
    stride: int = 1,
    kind: str = "half",
) -> PanelProblem:
    """A square convolution with padding that keeps its size."""
    pad = kernel // 2
    conv = Conv2d(
        weights((out, channels, kernel, kernel), kind), None, (stride, stride), (pad, pad, pad, pad)
    )
    taps, extent = direct_taps(conv), (size + 2 * pad - kernel) // stride + 1
    shapes = (batch, channels, size, size), (batch, out, extent, extent)
    batch_lanes = batch % target.lanes == 0
    source, result = (
        plan_layout(shape, lanes=target.lanes, batch_lanes=batch_lanes, halo=Halo(pad, pad, pad, pad))
        for shape in shapes
    )
    return PanelProblem(
        matrix=conv.weight.reshape(out, -1),
        bias=None,
        columns_per_channel=kernel * kernel,
        offsets=taps.offsets(source),
        pixels=result.pixel_vectors,
        pixel_steps=source.pixel_steps((stride, stride)),
        source=source,
        out=result,
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[PanelProblem, Target]:
    """A small problem of any kind, and whom it is for."""
    target = draw(st.sampled_from([WIDE, NARROW]))
    case = problem(
        target,
        batch=draw(st.sampled_from([1, 16])),
        channels=draw(st.integers(1, 40)),
        out=draw(st.integers(1, 40)),
        size=draw(st.integers(1, 20)),
        kernel=draw(st.sampled_from([1, 3])),
        kind=draw(st.sampled_from(["half", "tenth", "vectors", "dense", "all zero"])),
    )
    return case, target


@examples(40)
@given(problems(), st.integers(1, 8))
def test_chosen_schedules_are_legal(drawn: tuple[PanelProblem, Target], threads: int) -> None:
    case, target = drawn
    knobs = choose(case, target, threads=threads).schedule
    assert knobs.rows * knobs.tile_h * knobs.tile_w < target.registers
    assert max(knobs.tile_h, knobs.tile_w) <= TILE_LIMIT
    assert 1 <= knobs.block <= case.channels
    assert 1 <= knobs.chunk <= -(-len(case.matrix) // knobs.rows)
    height, width = case.pixels
    assert knobs.tile_h <= height
    assert knobs.tile_w <= width


def test_threads_get_tasks_of_their_own_where_there_is_one_tile() -> None:
    case = problem(WIDE, batch=16, channels=64, out=64, size=2, kernel=3)
    alone, shared = (choose(case, WIDE, threads=threads).schedule for threads in (1, 4))
    assert alone.chunk == -(-64 // alone.rows)
    tasks = case.tiles(shared) * -(-64 // (shared.rows * shared.chunk))
    assert tasks >= 4


def test_vectors_of_rows_are_packed_in_panels_that_keep_one_mask() -> None:
    case = problem(WIDE, batch=16, channels=32, out=32, size=14, kernel=3, kind="vectors")
    knobs = choose(case, WIDE, threads=1).schedule
    assert len(pack(case.matrix, rows=knobs.rows, block=9 * knobs.block).masks) <= 2


@pytest.mark.parametrize("rows", [3, 5, 6, 8])
def test_panels_are_as_high_as_vectors_or_share_their_edges(rows: int) -> None:
    case = problem(WIDE, batch=16, channels=16, out=120, size=14, kernel=3)
    kept = np.random.default_rng(0).random((120 // rows, 144)) < 0.5
    case = replace(case, matrix=kept.repeat(rows, axis=0).astype(np.float32))
    choice = choose(case, WIDE, threads=1)
    assert choice.structure.rows == rows
    assert rows % choice.schedule.rows == 0
    assert choice.schedule.rows > 1


def test_rows_meet_again_where_vectors_were_shuffled_and_only_where_that_is_allowed() -> None:
    case = problem(WIDE, batch=16, channels=64, out=64, size=14, kernel=3)
    rng = np.random.default_rng(0)
    vectors = (rng.random((16, 576)) < 0.5).repeat(4, axis=0).astype(np.float32)
    case = replace(case, matrix=vectors[rng.permutation(64)])
    permuted, without = (choose(case, WIDE, threads=1, permute=permute) for permute in (True, False))
    assert permuted.schedule.permuted
    assert permuted.schedule.rows == 4
    assert permuted.cycles < without.cycles
    assert not without.schedule.permuted
    assert without.cycles == min(without.estimates.values())


def test_rows_of_random_weights_stay_in_their_order() -> None:
    case = problem(WIDE, batch=16, channels=64, out=64, size=14, kernel=3)
    assert not choose(case, WIDE, threads=1).schedule.permuted


def test_weights_are_packed_in_the_format_that_suits_them() -> None:
    case = problem(WIDE, batch=16, channels=64, out=64, size=14, kernel=3, kind="dense")
    assert choose(case, WIDE, threads=1).schedule.format == "dense_panels"
    half = problem(WIDE, batch=16, channels=64, out=64, size=14, kernel=3)
    assert choose(half, WIDE, threads=1).schedule.format == "masked_panels"
    assert choose(half, WIDE, threads=1, dense=True).schedule.format == "dense_panels"
    fast = replace(WIDE, loads=2.0, fmas=2.0)  # as many vectors loaded as multiplied
    combined = replace(case, matrix=n_m(64, 64, 9, 1, 8))
    assert choose(combined, fast, threads=1).schedule.format == "column_combined"


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_all_threads_have_equally_many_tasks_where_panels_allow_it(threads: int) -> None:
    case = problem(WIDE, batch=1, channels=64, out=128, size=28, kernel=3)
    knobs = choose(case, WIDE, threads=threads).schedule
    tasks = case.tiles(knobs) * -(-128 // (knobs.rows * knobs.chunk))
    assert -(-tasks // threads) * threads / tasks <= 1.1


@pytest.mark.parametrize(("batch", "stride"), [(16, 1), (16, 2), (1, 1)])
def test_prefetch_fetches_all_that_the_next_tile_reads(batch: int, stride: int) -> None:
    case = problem(WIDE, batch=batch, channels=4, out=8, size=12, kernel=3, stride=stride)
    knobs = PanelSchedule(rows=2, tile_h=1, tile_w=2, block=2, chunk=2)
    prefetch = plan_prefetch(case, 4, knobs)
    assert prefetch is not None
    height, width = (p // t for p, t in zip(case.padded_pixels(knobs), (1, 2), strict=True))
    for tile in range(1, height * width):
        y, x = divmod(tile, width)
        starts = [y * case.pixel_steps[0] + (2 * x + i) * case.pixel_steps[1] for i in range(2)]
        for block in range(2):
            read = {
                (int(offset) + start + lane) // 16
                for offset in case.offsets[18 * block : 18 * (block + 1)]
                for start in starts
                for lane in (0, 15)
            }
            fetched = {
                (int(address) + lane) // 16
                for chunk in range(2)
                for visit in range(2)
                for _, _, address, exists in prefetch(2 * (tile - 1) + chunk, block, visit, None)
                if exists is None or bool(exists)
                for lane in (0, 15)
            }
            assert read <= fetched


def test_nothing_is_fetched_ahead_for_a_single_tile() -> None:
    case = problem(WIDE, batch=16, channels=4, out=8, size=2, kernel=3)
    assert plan_prefetch(case, 4, PanelSchedule(2, 2, 2, 4, 4)) is None
