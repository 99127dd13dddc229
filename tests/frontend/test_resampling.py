"""Resampling operators: where torch reads, with torch's weights, in one layer."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.frontend import from_torch
from sparsegen.graph import Resample2d
from tests.frontend.checking import Function, check, describe, images
from tests.kernels.contract import TOLERANCE
from tests.reference import evaluate
from tests.sampling import examples, large

aten = torch.ops.aten
CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest, twice": lambda x: F.interpolate(x, scale_factor=2),
    "nearest to a size": lambda x: F.interpolate(x, size=(13, 5)),
    "nearest by uneven factors": lambda x: F.interpolate(x, scale_factor=(1.7, 0.6)),
    "nearest exact": lambda x: F.interpolate(x, size=(13, 5), mode="nearest-exact"),
    "bilinear, twice": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear, smaller": lambda x: F.interpolate(x, scale_factor=(0.55, 0.7), mode="bilinear"),
    "bilinear, factor recomputed": lambda x: F.interpolate(
        x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True
    ),
    "bilinear to corners": lambda x: F.interpolate(x, size=(20, 3), mode="bilinear", align_corners=True),
    "bilinear along one axis": lambda x: F.interpolate(x, size=(9, 3), mode="bilinear"),
    "bilinear to one pixel": lambda x: F.interpolate(x, size=1, mode="bilinear", align_corners=True),
    "bilinear, antialiased": lambda x: F.interpolate(x, size=(4, 11), mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, size=(13, 5), mode="bicubic"),
    "bicubic, antialiased": lambda x: F.interpolate(x, size=(4, 5), mode="bicubic", antialias=True),
    "nearest2d": lambda x: aten.upsample_nearest2d.default(x, [18, 24], 2.0, 3.0),
}
OF_ROWS: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest": lambda x: F.interpolate(x, scale_factor=3),
    "nearest exact": lambda x: F.interpolate(x, size=5, mode="nearest-exact"),
    "linear": lambda x: F.interpolate(x, scale_factor=1.6, mode="linear"),
    "linear to corners": lambda x: F.interpolate(x, size=5, mode="linear", align_corners=True),
}


@pytest.mark.parametrize("name", CASES)
def test_images_of_another_size_are_one_layer(name: str) -> None:
    assert describe(check(Function(CASES[name]), images(), tolerance=2e-6)) == ["Resample2d"]


@pytest.mark.parametrize("name", OF_ROWS)
def test_rows_are_images_of_one_row(name: str) -> None:
    graph = check(Function(OF_ROWS[name]), images(2, 3, 8), tolerance=2e-6)
    assert describe(graph) == ["Reshape", "Resample2d", "Reshape"]


@examples(25)
@given(
    st.tuples(*[st.integers(1, 11)] * 2),
    st.tuples(*[st.floats(0.3, 3.2)] * 2),
    st.sampled_from(["nearest", "nearest-exact", "bilinear"]),
    st.booleans(),
)
def test_factors_and_sizes_mean_what_they_mean_to_torch(extent, factors, mode, by_size):
    """Against torch in float32: in float64 it rounds other positions to other sources."""
    sizes = tuple(max(1, int(size * factor)) for size, factor in zip(extent, factors, strict=True))
    factors = tuple(max(factor, 1 / size) for size, factor in zip(extent, factors, strict=True))

    def resample(x: Tensor) -> Tensor:
        given = {"size": sizes} if by_size else {"scale_factor": factors}
        return F.interpolate(x, mode=mode, **given)

    x = images(2, 3, *extent)
    (result,) = evaluate(from_torch(Function(resample), (x,)), (x,))
    torch.testing.assert_close(result.float(), resample(x), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (4, 3), (8, 7), (7, 7)])
def test_nan_reaches_what_it_reaches_in_torch(place: tuple[int, int], align_corners: bool) -> None:
    def resample(x: Tensor) -> Tensor:
        return F.interpolate(x, size=(9, 15), mode="bilinear", align_corners=align_corners)

    x = images()
    x[1, 2, place[0], place[1]] = torch.nan
    (result,) = evaluate(from_torch(Function(resample), (x,)), (x,))
    assert torch.equal(result.isnan(), resample(x).isnan())


def test_a_position_that_is_copied_has_one_tap() -> None:
    graph = from_torch(Function(lambda x: F.interpolate(x, size=(18, 5))), (images(),))
    core = graph.layers[0].core
    assert isinstance(core, Resample2d)
    assert core.rows.copies
    assert core.columns.copies


@large(("batch", "threads"), itertools.product([1, 3, 16, 17], [1, 2]), sample=4)
def test_between_convolutions(batch: int, threads: int) -> None:
    """Their halos are zero, before and after; what is pointwise goes into the resampling."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.Upsample(scale_factor=2), nn.ReLU(),
        nn.Conv2d(5, 4, 3, padding=1, stride=2), nn.Upsample(size=(9, 12), mode="bilinear"), nn.Sigmoid(),
        nn.Conv2d(4, 2, 5, padding=2),
    ).eval()  # fmt: skip
    x = images(batch, 3, 7, 5)
    graph = check(model, x)
    assert describe(graph)[1::2] == ["Resample2d relu", "Resample2d sigmoid"]
    (expected,) = evaluate(graph, (x,))
    compiled = compile_graph(graph, threads=threads)
    for _ in range(2):
        error = (compiled(x).double() - expected).abs().max()
        assert error <= TOLERANCE * expected.abs().max()
