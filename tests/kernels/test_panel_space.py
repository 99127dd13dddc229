"""The panel kernels' schedule space: what is legal is right, fits, and is no other point's equal."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.errors import SparsegenError
from sparsegen.kernels.panels import TILE_LIMIT, PanelProblem, PanelSchedule
from sparsegen.kernels.panels.space import panel_space
from sparsegen.kernels.space import Space
from sparsegen.target import Target
from sparsegen.tuner.search import Sampler
from tests.kernels.contract import LAYERS, check
from tests.kernels.test_choose import WIDE, problem, problems
from tests.kernels.test_spaces import planned, side_by_side
from tests.sampling import examples, large

PANELS = sorted(set(LAYERS) - {"grouped", "depthwise", "linear", "linear of a sequence"})
CASES = [(name, batch) for name in PANELS for batch in (1, 16)] + [
    ("linear", 16),
    ("linear of a sequence", 16),
]
PAIRS = 3
"""Of schedules of a case: the two of a pair are compiled as one model."""


def drawn(space: Space, count: int, *, seed: int = 0) -> list[PanelSchedule]:
    """Legal schedules by chance."""
    found = list(itertools.islice(Sampler(space, seed).draw(set()), count))
    assert all(isinstance(each, PanelSchedule) for each in found)
    return found  # type: ignore[return-value]


@large(
    ("case", "target", "pair"),
    itertools.product(CASES, ["native", "haswell"], range(PAIRS)),
    sample=24,
)
def test_legal_schedules_compute_the_layer(case: tuple[str, int], target: str, pair: int) -> None:
    name, batch = case
    graph = LAYERS[name](batch)
    _, space = planned(graph, target=target)
    both, schedules = side_by_side(graph, drawn(space, 2 * pair + 2)[2 * pair :])
    check(both, threads=2, target=target, schedules=schedules)


@examples(30)
@given(problems(), st.integers(1, 8), st.booleans())
def test_legal_schedules_fit(made: tuple[PanelProblem, Target], threads: int, dense: bool) -> None:
    case, target = made
    space = panel_space(case, target, threads=threads, dense=dense)
    default = space.default
    assert isinstance(default, PanelSchedule)
    assert space.legal(default)
    assert all(value in space.knobs[name] for name, value in default.as_dict().items())
    assert space.read(default.as_dict()) == default
    for knobs in drawn(space, 8):
        assert knobs.rows * knobs.tile_h * knobs.tile_w < target.registers
        assert max(knobs.tile_h, knobs.tile_w) <= TILE_LIMIT
        assert knobs.block <= case.channels
        assert knobs.chunk <= -(-len(case.matrix) // knobs.rows)
        if dense:
            assert knobs.format == "dense_panels"
        assert all(math.isfinite(value) for value in space.features(knobs).values())


def test_every_knob_takes_every_value_somewhere() -> None:
    """On a layer of usual size nothing in the space is there in vain."""
    case = problem(WIDE, batch=16, channels=64, out=64, size=14, kernel=3)
    space = panel_space(case, WIDE, threads=2, dense=False)
    unseen = {(name, value) for name, values in space.knobs.items() for value in values}
    for knobs in itertools.islice(Sampler(space, 0).draw(set()), 4000):
        unseen -= set(knobs.as_dict().items())
        if not unseen:
            break
    assert not unseen


def test_what_says_nothing_new_is_not_legal() -> None:
    case = problem(WIDE, batch=16, channels=32, out=32, size=14, kernel=3)
    space = panel_space(case, WIDE, threads=2, dense=False)
    legal = PanelSchedule(4, 1, 7, 16, 8)
    assert space.legal(legal)
    for change in (
        {"parallel": "panels"},  # there is one chunk: the order of one axis
        {"rows": 8, "tile_w": 1, "chunk": 3, "format": "dense_panels"},  # 2 and 2 panels are as many tasks
        {"format": "column_combined", "pixels_outer": False},  # each row has its own columns
        {"format": "dense_panels", "permuted": True},
        {"rows": 1, "chunk": 32, "permuted": True},
    ):
        assert not space.legal(replace(legal, **change)), change
    one_tile = panel_space(
        problem(WIDE, batch=16, channels=32, out=32, size=2, kernel=1), WIDE, threads=1, dense=False
    )
    whole = PanelSchedule(4, 2, 2, 32, 8)
    assert one_tile.legal(whole)
    assert not one_tile.legal(replace(whole, prefetch=False))  # nothing is next


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"rows": 4, "tile_h": 1, "tile_w": 7, "block": 16}, "lacks knobs: .*chunk"),
        ({"rows": 4, "tile_h": 1, "tile_w": 7, "block": 16, "chunk": 8, "lanes": 8}, "no knob lanes"),
        ({"rows": "4", "tile_h": 1, "tile_w": 7, "block": 16, "chunk": 8}, "no rows of '4'"),
        ({"rows": 4, "tile_h": 4, "tile_w": 7, "block": 16, "chunk": 8}, "not legal"),
        ({"rows": 4, "tile_h": 1, "tile_w": 7, "block": 16, "chunk": 8, "format": "csr"}, "not legal"),
    ],
)
def test_points_that_cannot_be_read(point: dict[str, int | str], message: str) -> None:
    case = problem(WIDE, batch=16, channels=32, out=32, size=14, kernel=3)
    with pytest.raises(SparsegenError, match=message):
        panel_space(case, WIDE, threads=1, dense=False).read(point)


def test_features_tell_the_knobs_and_the_weights_apart() -> None:
    half, tenth = (
        panel_space(
            problem(WIDE, batch=16, channels=64, out=64, size=14, kernel=3, kind=kind),
            WIDE,
            threads=1,
            dense=False,
        )
        for kind in ("half", "tenth")
    )
    knobs = PanelSchedule(4, 1, 7, 16, 16)
    few, many = tenth.features(knobs), half.features(knobs)
    assert few["density"] < many["density"]
    assert few["estimate"] < many["estimate"]
    assert few["loads_per_fma"] > many["loads_per_fma"]
    packed = half.features(replace(knobs, pack_input=True))
    assert packed["pack_input"] == 1
    assert packed.keys() == many.keys() == half.features(half.default).keys()
