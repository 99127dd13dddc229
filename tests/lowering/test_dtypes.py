"""Layouts of any type of elements: sizes, lanes, and no kernel for other than float32."""

from __future__ import annotations

import pytest

from sparsegen.errors import ModelError
from sparsegen.graph import Identity, Layer, LayerGraph
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.operands import Operand, Value
from sparsegen.kernels.registry import Context, build_kernel
from sparsegen.lowering.assemble import Placed, value_lifetimes
from sparsegen.lowering.layout import Halo, Layout, plan_layout
from sparsegen.lowering.memory import plan_memory
from sparsegen.target import parse_target

HASWELL = parse_target("haswell", elsewhere=True)
TYPES = {"float32": 4, "bfloat16": 2, "int8": 1}


def layout(
    dtype: str, shape: tuple[int, ...], *, batch_lanes: bool = False, halo: Halo | None = None
) -> Layout:
    """A layout for vectors of 32 bytes."""
    lanes = HASWELL.lanes_of(dtype)
    return plan_layout(shape, lanes=lanes, batch_lanes=batch_lanes, halo=halo, dtype=dtype)


@pytest.mark.parametrize(("name", "vector_bytes"), [("haswell", 32), ("znver4", 64)])
def test_lanes_are_a_vectors_elements(name: str, vector_bytes: int) -> None:
    target = parse_target(name, elsewhere=True)
    assert {dtype: target.lanes_of(dtype) * size for dtype, size in TYPES.items()} == dict.fromkeys(
        TYPES, vector_bytes
    )
    assert target.lanes == target.lanes_of("float32")


@pytest.mark.parametrize(("dtype", "itemsize"), TYPES.items())
def test_rows_of_features_are_whole_vectors(dtype: str, itemsize: int) -> None:
    planned = layout(dtype, (3, 5, 70))
    assert planned.itemsize == itemsize
    assert planned.row * itemsize % 32 == 0
    assert planned.row == -(-70 // planned.lanes) * planned.lanes
    assert planned.nbytes == 3 * 5 * planned.row * itemsize


@pytest.mark.parametrize(("dtype", "itemsize"), TYPES.items())
def test_planes_of_images_begin_at_vectors(dtype: str, itemsize: int) -> None:
    planned = layout(dtype, (2, 3, 9, 7), halo=Halo(1, 1, 1, 1))
    assert planned.base * itemsize % 32 == 0
    assert planned.plane * itemsize % 32 == 0
    assert planned.nbytes == 2 * planned.size * itemsize
    assert planned.line * itemsize == 64


@pytest.mark.parametrize(("dtype", "itemsize"), TYPES.items())
def test_batch_lanes_hold_as_many_images_as_elements(dtype: str, itemsize: int) -> None:
    planned = layout(dtype, (65, 4, 6, 6), batch_lanes=True)
    assert (planned.step * itemsize, planned.groups) == (32, -(-65 * itemsize // 32))


@pytest.mark.parametrize(("dtype", "itemsize"), TYPES.items())
def test_channels_a_page_apart_are_spread_over_the_cache(dtype: str, itemsize: int) -> None:
    side = 64 // itemsize  # planes of 64 lines and a multiple, of a whole number of pages
    planned = layout(dtype, (1, 16, 64, side))
    assert planned.plane > 64 * side
    assert planned.plane * itemsize % 64 == 0


def test_memory_is_planned_in_bytes() -> None:
    graph = LayerGraph(
        {"x": (1, 128)},
        [Layer("small", Identity(), ("x",), (1, 128)), Layer("large", Identity(), ("small",), (1, 128))],
        ("large",),
    )
    layouts = {"small": layout("int8", (1, 128)), "large": layout("float32", (1, 128))}
    lifetimes = value_lifetimes(graph, layouts)
    assert {name: lifetime.size for name, lifetime in lifetimes.items()} == {"small": 128, "large": 512}
    placed = Placed(layouts, plan_memory(lifetimes), ())
    for name, planned in layouts.items():
        region = placed.region(name)
        assert (region.dtype, region.end - region.offset) == (planned.dtype, planned.nbytes)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
@pytest.mark.parametrize("place", ["x", "layer"])
def test_kernels_of_other_types_are_refused(dtype: str, place: str) -> None:
    shape = (1, 64)
    operands: dict[str, Operand] = {
        name: Value(name, layout(dtype if name == place else "float32", shape)) for name in ("x", "layer")
    }
    with pytest.raises(ModelError, match=f"no kernel computes with elements of type {dtype}"):
        build_kernel(Layer("layer", Identity(), ("x",), shape), Context(operands, HASWELL, 1))


@pytest.mark.parametrize("dtype", TYPES)
def test_a_placeholder_has_its_layouts_type(dtype: str) -> None:
    tensor = Value("x", layout(dtype, (1, 64))).placeholder()
    assert str(tensor.dtype) == dtype


def test_float32_is_summed_in_float32() -> None:
    assert accumulator_of("float32") == "float32"
