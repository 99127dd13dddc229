"""Pixel shuffle and unshuffle against the float64 evaluator: exact, for they move alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sparsegen.graph import PixelShuffle, PixelUnshuffle
from tests.kernels.harness import assert_matches, one_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue

FACTORS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@FEW
@given(any_setting(), FACTORS, st.tuples(extents(), extents()), st.data())
def test_shuffle(setting, factors, extent, data):
    """With crops at both ends, of part of a phase and of whole ones."""
    whole = [size * factor for size, factor in zip(extent, factors, strict=True)]
    crop = tuple(data.draw(st.integers(0, min(size - 1, 5))) for size in whole)
    kept = [data.draw(st.integers(1, size - cut)) for size, cut in zip(whole, crop, strict=True)]
    source = (setting.batch, 2 * factors[0] * factors[1], *extent)
    core = PixelShuffle(factors, crop)
    assert_matches(data.draw(with_epilogue(core, source, (setting.batch, 2, *kept))), setting)


@FEW
@given(any_setting(), FACTORS, st.tuples(extents(1, 9), extents(1, 9)), st.data())
def test_unshuffle(setting, factors, extent, data):
    source = (setting.batch, 2, *(size * factor for size, factor in zip(extent, factors, strict=True)))
    shape = (setting.batch, 2 * factors[0] * factors[1], *extent)
    assert_matches(data.draw(with_epilogue(PixelUnshuffle(factors), source, shape)), setting)


@FEW
@given(any_setting(), FACTORS, st.tuples(extents(), extents()))
def test_elements_move_as_they_are(setting, factors, extent):
    source = (setting.batch, factors[0] * factors[1], *extent)
    shape = (setting.batch, 1, *(size * factor for size, factor in zip(extent, factors, strict=True)))
    assert_matches(one_layer(PixelShuffle(factors), {"x": source}, shape), setting, tolerance=0)
    assert_matches(one_layer(PixelUnshuffle(factors), {"x": shape}, source), setting, tolerance=0)
