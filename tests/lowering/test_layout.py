"""Layouts: every element has a place of its own, and the halo is everything else."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.lowering.layout import Halo, Layout, plan_layout

halos = st.builds(Halo, *[st.integers(0, 3)] * 4)
images = st.builds(
    lambda shape, halo, lanes, batch_lanes: plan_layout(
        shape, lanes=lanes, batch_lanes=batch_lanes, halo=halo
    ),
    st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    halos,
    st.sampled_from([8, 16]),
    st.booleans(),
)


def element_places(layout: Layout) -> np.ndarray:
    """Address of every element of one group."""
    lanes = range(layout.lanes) if layout.batch_lanes else range(1)
    coordinates = product(*(range(extent) for extent in layout.element_shape))
    return np.array([layout.address(c, lane) for c in coordinates for lane in lanes])


@given(layout=images)
def test_elements_do_not_share_places(layout: Layout) -> None:
    places = element_places(layout)
    assert len(np.unique(places)) == len(places)
    assert places.min() >= 0
    assert places.max() < layout.size


@given(layout=images)
def test_the_halo_and_the_elements_are_the_buffer(layout: Layout) -> None:
    written = np.zeros(layout.size, int)
    written[element_places(layout)] += 1
    written[: layout.base] += 1
    planes, plane, spans = layout.zero_spans()
    for channel, (begin, end) in product(range(planes), spans):
        at = layout.base + channel * plane
        written[at + begin : at + end] += 1
    if not layout.batch_lanes:  # the kernels write the halo between rows with the rows
        _, channels, height, width = layout.shape
        for channel, row in product(range(channels), range(height - 1)):
            at = layout.address((channel, row, width))
            written[at : at + layout.row - width] += 1
    past = layout.base + planes * plane
    assert (written[:past] == 1).all()


@given(layout=images, halo=halos)
def test_neighbours_outside_the_image_are_halo(layout: Layout, halo: Halo) -> None:
    padded = plan_layout(layout.shape, lanes=layout.lanes, batch_lanes=layout.batch_lanes, halo=halo)
    elements = set(element_places(padded).tolist())
    _, channels, height, width = padded.shape
    around = product(
        range(channels), range(-halo.top, height + halo.bottom), range(-halo.left, width + halo.right)
    )
    for channel, y, x in around:
        if not (0 <= y < height and 0 <= x < width):
            place = padded.address((channel, y, x))
            assert 0 <= place < padded.size
            assert place not in elements


@given(layout=images)
def test_every_channel_begins_at_a_whole_vector(layout: Layout) -> None:
    assert layout.base % layout.lanes == layout.plane % layout.lanes == 0


@pytest.mark.parametrize("size", [7, 8, 14, 16, 28, 32, 56])
def test_channels_do_not_meet_in_a_few_sets_of_the_cache(size: int) -> None:
    layout = plan_layout((16, 64, size, size), lanes=16, batch_lanes=True, halo=Halo(1, 1, 1, 1))
    sets = np.arange(16) * (layout.plane // 16) % 64
    assert np.bincount(sets).max() <= 2


@pytest.mark.parametrize(
    ("shape", "batch_lanes", "groups", "size"),
    [((5, 10), False, 5, 16), ((5, 10), True, 1, 160), ((17, 3, 10), True, 2, 480), ((4,), False, 4, 16)],
)
def test_tensors_that_are_no_images(
    shape: tuple[int, ...], batch_lanes: bool, groups: int, size: int
) -> None:
    layout = plan_layout(shape, lanes=16, batch_lanes=batch_lanes)
    assert (layout.groups, layout.size) == (groups, size)
