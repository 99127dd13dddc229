"""The slab holds what a tile reads, where its columns expect it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import Conv2d
from sparsegen.kernels.panels import PanelProblem, PanelSchedule, packable, panel_fault, slab_bytes
from sparsegen.kernels.panels.packing import plan_slab
from sparsegen.kernels.taps import direct_taps
from sparsegen.lowering.layout import Halo, plan_layout
from tests.kernels.contract import weights
from tests.sampling import examples

LANES, CHANNELS, PAST = 8, 5, 16


def problem(*, batch: int, size: int, kernel: int, stride: int, dilation: int) -> PanelProblem:
    """A square convolution without padding, with room past its end as models are planned with."""
    weight, batch_lanes = weights((6, CHANNELS, kernel, kernel)), batch == LANES
    taps = direct_taps(Conv2d(weight, None, (stride, stride), dilation=(dilation, dilation)))
    extent = (size - dilation * (kernel - 1) - 1) // stride + 1
    halo = Halo(0, 0, 0, 0, PAST * stride, PAST * (stride if batch_lanes else LANES))
    source, out = (
        plan_layout(shape, lanes=LANES, batch_lanes=batch_lanes, halo=halo)
        for shape in ((batch, CHANNELS, size, size), (batch, 6, extent, extent if batch_lanes else size))
    )
    return PanelProblem(
        matrix=weight.reshape(6, -1),
        bias=None,
        columns_per_channel=kernel * kernel,
        offsets=taps.offsets(source),
        pixels=out.pixel_vectors,
        pixel_steps=source.pixel_steps((stride, stride)),
        source=source,
        out=out,
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[PanelProblem, PanelSchedule]:
    """Any square convolution and tile; with pixel lanes as models have them: unit strides, one row."""
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = dilation * (kernel - 1) + draw(st.integers(1, 9))
    batch = draw(st.sampled_from([1, LANES]))
    stride = draw(st.integers(1, 3)) if batch == LANES else 1
    case = problem(batch=batch, size=size, kernel=kernel, stride=stride, dilation=dilation)
    tile = (draw(st.integers(1, 3)) if batch == LANES else 1, draw(st.integers(1, 4)))
    return case, PanelSchedule(2, *tile, draw(st.sampled_from([1, 2, 8])), 1, pack_input=True)


@examples(150)
@given(case=cases())
def test_every_column_of_every_tile_is_in_the_slab(case: tuple[PanelProblem, PanelSchedule]) -> None:
    which, knobs = case
    slab = plan_slab(which, knobs)
    assert packable(which, knobs) == (slab is not None)
    if slab is None:
        assert which.pixel_steps[1] > LANES  # strides alone leave gaps that no step bridges
        return
    assert slab_bytes(which, knobs) == 4 * slab.channels * len(slab.starts) * LANES
    x = np.arange(which.source.size)
    lane, columns = np.arange(LANES), which.columns_per_channel
    height, width = which.padded_pixels(knobs)
    for tile_y, tile_x in np.ndindex(height // knobs.tile_h, width // knobs.tile_w):
        steps = tile_y * knobs.tile_h * which.pixel_steps[0] + tile_x * knobs.tile_w * which.pixel_steps[1]
        for channel in range(which.channels):
            copied = x[(channel * which.plane + steps + slab.starts)[:, None] + lane].reshape(-1)
            at = channel % slab.channels * len(copied)
            for column, (y, x_) in (
                (column, pixel)
                for column in range(channel * columns, (channel + 1) * columns)
                for pixel in np.ndindex(knobs.tile_h, knobs.tile_w)
            ):
                place = slab.offsets[column] - at + y * slab.pixel_steps[0] + x_ * slab.pixel_steps[1]
                read = which.offsets[column] + steps + y * which.pixel_steps[0] + x_ * which.pixel_steps[1]
                np.testing.assert_array_equal(copied[place + lane], x[read + lane])


def test_a_slab_leaves_out_what_a_stride_leaves_out() -> None:
    case = problem(batch=LANES, size=8, kernel=1, stride=2, dilation=1)
    assert slab_bytes(case, PanelSchedule(2, 2, 4, 2, 1)) == 4 * LANES * 2 * (2 * 4)


def test_tiles_whose_gaps_are_partly_filled_are_refused() -> None:
    case = problem(batch=LANES, size=12, kernel=2, stride=2, dilation=3)
    knobs = PanelSchedule(2, 1, 3, 2, 1, pack_input=True)
    assert packable(case, replace(knobs, tile_w=2))
    assert not packable(case, knobs)
    reason = panel_fault(case, knobs)
    assert reason is not None
    assert reason.startswith("input cannot be packed in tiles of 1 by 3 pixel vectors")


def test_the_last_vector_of_a_run_does_not_leave_the_input() -> None:
    case = problem(batch=1, size=6, kernel=3, stride=1, dilation=1)
    knobs = PanelSchedule(2, 1, 3, 2, 1)
    assert packable(case, knobs)
    ends = int(case.offsets.max()) + (case.padded_pixels(knobs)[1] - 1) * LANES + LANES
    assert not packable(replace(case, source=replace(case.source, size=ends)), knobs)
