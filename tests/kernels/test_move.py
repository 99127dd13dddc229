"""Concatenate, reshape, permute, slice and pad against the float64 evaluator."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsegen.graph import Concat, Pad, Permute, Reshape, Slice
from sparsegen.kernels.move import common_factors
from tests.kernels.harness import assert_matches, one_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue

INNER = st.lists(extents(), max_size=4)


def movable(setting, source):
    """The dimensions that the layout lets an operator touch."""
    dims = range(1 if setting.batch_lanes else 0, len(source))
    assume(dims)
    return dims


@FEW
@given(any_setting(), INNER, st.lists(st.integers(1, 9), min_size=1, max_size=3), st.data())
def test_concat(setting, inner, sizes, data):
    source = (setting.batch, *inner)
    dim = data.draw(st.sampled_from(movable(setting, source)))
    shapes = {f"x{i}": (*source[:dim], size, *source[dim + 1 :]) for i, size in enumerate(sizes)}
    assert_matches(one_layer(Concat(dim), shapes, (*source[:dim], sum(sizes), *source[dim + 1 :])), setting)


@FEW
@given(any_setting(), st.lists(st.sampled_from([1, 2, 3, 4, 8, 10]), min_size=1, max_size=4), st.data())
def test_reshape(setting, factors, data):
    """Any grouping of the prime-like factors, in and out, the factors reordered between the two."""

    def grouped(numbers):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(numbers)), max_size=3)))
        return tuple(prod(numbers[a:b]) for a, b in zip([0, *cuts], [*cuts, len(numbers)], strict=True))

    batch = (setting.batch,)
    if setting.batch_lanes:
        source = (*batch, *grouped(factors))
        shape = (*batch, *grouped(data.draw(st.permutations(factors))))
    else:
        source = grouped([*batch, *factors])
        shape = grouped(data.draw(st.permutations([*batch, *factors])))
    assert_matches(data.draw(with_epilogue(Reshape(), source, shape)), setting)


@FEW
@given(any_setting(), st.lists(extents(), min_size=1, max_size=4), st.data())
def test_permute(setting, inner, data):
    source = (setting.batch, *inner)
    dims = movable(setting, source)
    order = (*range(dims.start), *data.draw(st.permutations(dims)))
    shape = tuple(source[dim] for dim in order)
    assert_matches(data.draw(with_epilogue(Permute(order), source, shape)), setting)


@FEW
@given(any_setting(), INNER, st.data())
def test_slice(setting, inner, data):
    source = (setting.batch, *inner)
    dim = data.draw(st.sampled_from(movable(setting, source)))
    start, step = data.draw(st.integers(0, source[dim] - 1)), data.draw(st.integers(1, 3))
    count = data.draw(st.integers(1, (source[dim] - start - 1) // step + 1))
    shape = (*source[:dim], count, *source[dim + 1 :])
    assert_matches(data.draw(with_epilogue(Slice(dim, start, step), source, shape)), setting)


@FEW
@given(any_setting(), INNER, st.sampled_from([0.0, -1.5]), st.data())
def test_pad(setting, inner, value, data):
    source = (setting.batch, *inner)
    sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
    amounts = tuple(
        (0, 0) if dim == 0 and setting.batch_lanes else data.draw(sides) for dim in range(len(source))
    )
    shape = tuple(extent + sum(side) for extent, side in zip(source, amounts, strict=True))
    assert_matches(data.draw(with_epilogue(Pad(amounts, value), source, shape)), setting)


@pytest.mark.parametrize(
    ("shape", "other", "factors"),
    [
        ((24,), (2, 3, 4), [[2, 3, 4]]),
        ((2, 3, 4), (24,), [[2], [3], [4]]),
        ((6, 4), (2, 12), [[2, 3], [4]]),
        ((4, 1, 6), (24, 1), [[4], [], [6]]),
        ((4, 6), (6, 4), None),
    ],
)
def test_common_factors(shape, other, factors):
    assert common_factors(shape, other) == factors
