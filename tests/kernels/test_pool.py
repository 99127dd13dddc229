"""Pooling against the float64 evaluator."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsegen.graph import AdaptivePool2d, Pool2d
from sparsegen.kernels.pool_prefetch import RowsAhead
from sparsegen.kernels.windows import Windows
from sparsegen.lowering.layout import plan_layout
from tests.kernels.harness import Setting, assert_matches, one_layer, run_layer
from tests.kernels.strategies import FEW, any_setting, extents, with_epilogue
from tests.reference import evaluate

KINDS = st.sampled_from(["max", "avg"])


@st.composite
def axis(draw: st.DrawFn) -> tuple[int, int, int, tuple[int, int], int, int]:
    """(extent, kernel, stride, padding, dilation, outputs) of one axis, ceil mode's windows too."""
    kernel, dilation = draw(st.sampled_from([1, 2, 3, 3, 5, 9])), draw(st.sampled_from([1, 1, 2]))
    extent, stride = draw(extents(3)), draw(st.integers(1, 3))
    span = dilation * (kernel - 1) + 1
    before, after = draw(st.integers(0, span // 2)), draw(st.integers(0, span // 2))
    room = before + extent + after - span
    assume(room >= 0)
    outputs = room // stride + 1
    ceil = draw(st.booleans()) and room % stride and outputs * stride < before + extent
    return extent, kernel, stride, (before, after), dilation, outputs + bool(ceil)


@FEW
@given(any_setting(), axis(), axis(), KINDS, st.booleans(), st.sampled_from([None, None, 3]), st.data())
def test_windows(setting, vertical, horizontal, kind, count_include_pad, divisor, data):
    extent, kernel, stride, padding, dilation, outputs = zip(vertical, horizontal, strict=True)
    core = Pool2d(kind, kernel, stride, (*padding[0], *padding[1]), dilation, count_include_pad, divisor)
    source, shape = (setting.batch, 3, *extent), (setting.batch, 3, *outputs)
    assert_matches(data.draw(with_epilogue(core, source, shape)), setting)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(
    ("padding", "rows", "columns"), [((0, 1, 1, 1), 4, 4), ((1, 0, 0, 0), 5, 3), ((1, 1, 1, 0), 5, 4)]
)
def test_average_at_the_edges(padding, rows, columns, count_include_pad):
    """With five rows, ceil mode's last window ends past the padding."""
    core = Pool2d("avg", (3, 2), (2, 2), padding, count_include_pad=count_include_pad)
    graph = one_layer(core, {"x": (3, 2, 8, 7)}, (3, 2, rows, columns))
    assert_matches(graph, Setting(3, batch_lanes=False))


@FEW
@given(
    any_setting(), st.tuples(extents(), extents()), st.tuples(extents(1, 9), extents(1, 9)), KINDS, st.data()
)
def test_adaptive_windows(setting, extent, outputs, kind, data):
    core = AdaptivePool2d(kind, outputs)
    source, shape = (setting.batch, 3, *extent), (setting.batch, 3, *outputs)
    assert_matches(data.draw(with_epilogue(core, source, shape)), setting)


@FEW
@given(any_setting(), st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_max_passes_nan_on_from_every_place_of_a_window(setting, place):
    shape = (setting.batch, 2, 7, 7)
    graph = one_layer(Pool2d("max", (3, 3), (2, 2), (1, 1, 1, 1)), {"x": shape}, (setting.batch, 2, 4, 4))
    x = torch.zeros(shape)
    x[(0, 1, *place)] = torch.nan
    (expected,) = evaluate(graph, (x,))
    torch.testing.assert_close(run_layer(graph, (x,), setting).double(), expected, equal_nan=True)


def test_max_of_minus_infinity_is_minus_infinity():
    graph = one_layer(Pool2d("max", (2, 2), (2, 2)), {"x": (1, 1, 4, 4)}, (1, 1, 2, 2))
    x = torch.full((1, 1, 4, 4), -torch.inf)
    assert torch.all(run_layer(graph, (x,), Setting(1, batch_lanes=False)) == -torch.inf)


@pytest.mark.parametrize("parallel_rows", [False, True])
@pytest.mark.parametrize(("size", "stride", "before"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_the_next_windows_rows_are_fetched_once(
    size: int, stride: int, before: int, parallel_rows: bool
) -> None:
    """While a row of windows is computed: what the next one reads that this one does not."""
    source = plan_layout((32, 2, 9, 6), lanes=16, batch_lanes=True)
    vertical = Windows(9, (9 + 2 * before - size) // stride + 1, size, stride, before)
    horizontal = Windows(6, (6 + 2 * before - size) // stride + 1, size, stride, before)
    ahead = RowsAhead(source, vertical, horizontal, parallel_rows)
    for group, channel, row in itertools.product(range(2), range(2), range(vertical.outputs - 1)):
        task = group * 2 + channel
        at = (task * vertical.outputs + row, 0) if parallel_rows else (task, row)
        fetched = [
            (number, int(of), int(address), exists)
            for position in range(horizontal.span)
            for number, of, address, exists in ahead(*at, position, None)
        ]
        rows = [{int(vertical.tap(row + i, k)) - before for k in range(size)} for i in range(2)]
        new = itertools.product(sorted(rows[1] - rows[0]), range(horizontal.span))
        expected = [(0, group, source.address((channel, y, x - before), 0), None) for y, x in new]
        assert sorted(fetched) == sorted(expected)
