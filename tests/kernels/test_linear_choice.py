"""Which linear layers without batch lanes leave their zeros in memory."""

from __future__ import annotations

from typing import Any

import pytest

from sparsegen.formats.masked_vectors import NAME
from sparsegen.graph import Linear
from sparsegen.kernels.linear_choice import LinearChoice, choose_linear
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import space_of
from sparsegen.target import parse_target
from tests.kernels.contract import single, weights


def choice(
    kind: str, *, features: int = 1600, rows: int = 1, target: str = "znver5", dense: bool = False
) -> LinearChoice:
    """The choice for a square layer; also that its space begins there."""
    graph = single(Linear(weights((features, features), kind), None), (rows, features), (rows, features))
    plan = plan_graph(graph, threads=1, target=parse_target(target, elsewhere=True), dense=dense)
    layer = plan.layer("layer")
    assert isinstance(layer.core, Linear)
    chosen = choose_linear(layer.core.weight, plan.context.layout(layer.name), plan.context)
    space = space_of(layer, plan.context)
    assert space is not None
    assert space.legal(space.default)
    assert (space.default, space.zeros_matter) == (chosen.schedule, NAME in chosen.estimates)
    assert chosen.cycles == min(chosen.estimates.values())
    return chosen


@pytest.mark.parametrize("kind", ["half", "tenth", "vectors", "all zero"])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_zeros_of_large_layers_are_left_out(kind: str, rows: int) -> None:
    assert choice(kind, rows=rows).schedule.format == NAME


def test_fewer_weights_cost_less() -> None:
    half, tenth = choice("half"), choice("tenth")
    assert tenth.estimates["dense"] == half.estimates["dense"]
    assert tenth.cycles < half.cycles < half.estimates["dense"]


def test_weights_without_zeros_stay_dense() -> None:
    assert choice("dense").schedule.format == "dense"


@pytest.mark.parametrize(
    ("options", "masked"),
    [
        ({"rows": 11}, True),
        ({"rows": 17}, False),  # they leave no registers for vectors of weights
        ({"target": "haswell"}, False),
        ({"dense": True}, False),
    ],
)
def test_every_format_that_may_be_has_an_estimate(options: dict[str, Any], masked: bool) -> None:
    assert set(choice("tenth", **options).estimates) == ({"dense", NAME} if masked else {"dense"})


def test_layers_that_stay_in_the_caches_run_dense() -> None:
    assert choice("half", features=64, rows=4).schedule.format == "dense"


def test_a_point_from_before_there_were_formats_is_dense() -> None:
    graph = single(Linear(weights((1600, 1600), "half"), None), (1, 1600), (1, 1600))
    plan = plan_graph(graph, threads=1, target=parse_target("znver5", elsewhere=True))
    space = space_of(plan.layer("layer"), plan.context)
    assert space is not None
    assert space.default.as_dict()["format"] == NAME
    assert space.read({"rows": 1, "vectors": 8}).as_dict()["format"] == "dense"
