"""The registry of implementations: what there is for which operator, what it costs, and who may add to it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsegen.cost import NOTHING, Cost, total
from sparsegen.errors import ModelError, ToolchainError
from sparsegen.graph import Layer, LayerGraph, Linear, Pool2d
from sparsegen.inspection.layer import inspect_layer
from sparsegen.kernels import registry
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import (
    Context,
    best_offer,
    build_kernel,
    implementations_of,
    implemented_cores,
    offers,
    refusals,
    register,
)
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.kernel import Kernel
from sparsegen.target import parse_target
from tests.kernels.contract import conv_graph, single
from tests.lowering.golden_cases import CASES
from tests.preloaded import run

SAME = (1, 1, 1, 1)


def sparse(*shape: int, density: float = 0.3) -> np.ndarray:
    """Random weights, most of them zero."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) * (rng.random(shape) < density)).astype(np.float32)


def linear_graph(batch: int) -> LayerGraph:
    return single(Linear(sparse(32, 24), None), (batch, 24), (batch, 32))


GRAPHS = {
    "convolution": conv_graph(sparse(16, 8, 3, 3), (8, 8, 9, 9), padding=SAME),
    "pixels": conv_graph(sparse(16, 8, 3, 3), (1, 8, 9, 9), padding=SAME),
    "dense": conv_graph(sparse(16, 8, 1, 1, density=1), (8, 8, 9, 9)),
    "grouped": conv_graph(sparse(16, 4, 3, 3), (8, 8, 9, 9), groups=2),
    "depthwise": conv_graph(sparse(8, 1, 3, 3), (8, 8, 9, 9), groups=8),
    "linear of images": linear_graph(8),
    "linear of rows": linear_graph(1),
}
SERVED = {
    "convolution": {"dense_panels", "panels", "winograd", "sparse_winograd"},
    "pixels": {"dense_panels", "panels", "winograd", "sparse_winograd"},
    "dense": {"dense_panels"},
    "grouped": {"grouped"},
    "depthwise": {"depthwise"},
    "linear of images": {"dense_panels", "panels"},
    "linear of rows": {"rows"},
}


def planned(graph: LayerGraph, **options: object):
    """The layer with weights of a graph, and the context of it, for AVX2."""
    plan = plan_graph(graph, threads=1, target=parse_target("haswell"), **options)
    layer = next(each for each in plan.graph.layers if isinstance(each.core, TapConv2d | Linear))
    return layer, plan.context


@pytest.mark.parametrize("name", GRAPHS)
def test_who_serves_which_layer(name: str) -> None:
    layer, context = planned(GRAPHS[name])
    made = {offer.implementation.name: offer for offer in offers(layer, context)}
    assert made.keys() == SERVED[name]
    assert (
        refusals(layer, context).keys()
        == {each.name for each in implementations_of(type(layer.core))} - made.keys()
    )
    best = best_offer(layer, context)
    assert best.cost.seconds == min(offer.cost.seconds for offer in made.values())
    assert build_kernel(layer, context).kind in best.implementation.kinds


@pytest.mark.parametrize("name", GRAPHS)
def test_what_was_not_chosen_can_be_built_as_well(name: str) -> None:
    layer, context = planned(GRAPHS[name])
    for offer in offers(layer, context):
        assert offer.schedule is not None
        kernel = offer.implementation.build(layer, context, offer.schedule)
        assert kernel.schedule == offer.schedule.as_dict()
        given = replace(context, schedules={layer.name: offer.schedule})
        assert build_kernel(layer, given).schedule == kernel.schedule


def test_inspect_tells_of_other_packages_implementations(monkeypatch: pytest.MonkeyPatch) -> None:
    class Free(Implementation):
        name, kinds = "free", ("panels",)

        def offer(self, layer: Layer, context: Context) -> Offer:
            return Offer(self, Cost(1e-12, 0, 0, "predicted"))

        def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
            raise AssertionError("nothing is built")

    mine = [*registry._IMPLEMENTATIONS[TapConv2d], Free()]
    monkeypatch.setitem(registry._IMPLEMENTATIONS, TapConv2d, mine)
    plan = plan_graph(GRAPHS["convolution"], threads=1, target=parse_target("haswell"))
    (told,) = inspect_layer(plan.layer("layer"), plan)
    assert (told.format, told.expected_speedup, told.pays) == ("free", None, False)
    assert told.why == "free is estimated to take 0 cycles, the least"


def test_why_implementations_serve_no_layer_of_a_kind() -> None:
    layer, context = planned(GRAPHS["convolution"], dense=True, winograd=False)
    assert refusals(layer, context)["panels"] == "every weight is to be multiplied"
    assert refusals(layer, context)["winograd"] == "it is switched off"
    assert refusals(*planned(GRAPHS["dense"]))["panels"] == "no zeros are worth skipping"
    assert refusals(*planned(GRAPHS["depthwise"]))["grouped"] == "its groups are single channels"
    assert refusals(*planned(GRAPHS["linear of rows"]))["masked_vectors"] == (
        "skipping zeros at this batch takes AVX-512"
    )


def test_a_depthwise_convolution_costs_what_its_vectors_do() -> None:
    """One image, whose pixels fill the lanes, costs about a lane's share of a batch that fills them."""
    seconds = {}
    for batch in (1, 8):
        graph = conv_graph(sparse(8, 1, 3, 3), (batch, 8, 64, 64), padding=SAME, groups=8)
        seconds[batch] = best_offer(*planned(graph)).cost.seconds
    assert seconds[1] < seconds[8] / 4


@pytest.mark.parametrize("name", CASES)
def test_every_operator_has_a_cost(name: str) -> None:
    layer, context = CASES[name].planned()
    cost = best_offer(layer, context).cost
    assert 0 < cost.seconds < 1
    assert cost.bytes_written >= 4 * np.prod(layer.shape)
    assert cost.bytes_read > 0
    assert cost.origin in ("predicted", "roofline")


def test_costs_add_up() -> None:
    known, told = Cost(1.0, 10, 20, "measured"), Cost(0.5, 1, 2, "roofline")
    assert known + told == Cost(1.5, 11, 22, "roofline")
    assert total([known, known]) == Cost(2.0, 20, 40, "measured")
    assert total([]) == NOTHING


def test_a_slower_clock_changes_seconds_and_no_choice() -> None:
    layer, context = planned(GRAPHS["convolution"])
    target = context.target
    slow = replace(target, speed=replace(target.speed, clock_hz=target.speed.clock_hz / 2))
    one, other = best_offer(layer, context), best_offer(layer, replace(context, target=slow))
    assert other.cost.seconds == pytest.approx(2 * one.cost.seconds)
    assert other.schedule == one.schedule


def test_names_are_unique() -> None:
    for core in implemented_cores():
        names = [each.name for each in implementations_of(core)]
        assert len(set(names)) == len(names)
    (pool,) = implementations_of(Pool2d)
    with pytest.raises(ValueError, match="Pool2d has an implementation called 'pool'"):
        register(Pool2d, pool)


def test_a_layer_that_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, context = planned(GRAPHS["dense"])
    monkeypatch.setitem(registry._IMPLEMENTATIONS, TapConv2d, [])
    with pytest.raises(ModelError, match=r"layer 'layer' has no kernel: nothing is registered for TapConv2d"):
        build_kernel(layer, context)

    class Never(Implementation):
        name, kinds = "never", ()

        def accepts(self, *_: object) -> str:
            return "it never does"

        offer = build = accepts  # type: ignore[assignment]

    register(TapConv2d, Never())
    with pytest.raises(ModelError, match="layer 'layer' has no kernel: never: it never does"):
        build_kernel(layer, context)


TOY = """
from dataclasses import replace
from sparsegen.cost import Cost
from sparsegen.graph import Identity
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.pointwise import pointwise

class Toy(Implementation):
    name, kinds = "toy", ("toy",)

    def accepts(self, layer, context):
        return None if layer.epilogue[0].op == "relu" else "it is a toy"

    def offer(self, layer, context):
        return Offer(self, Cost(1e-12, 0, 0, "predicted"))

    def build(self, layer, context, schedule):
        return replace(pointwise(layer, context), kind="toy")

def implementations():
    yield Identity, Toy()
"""
TWICE = TOY.replace("    yield Identity, Toy()\n", "    yield Identity, Toy()\n    yield Identity, Toy()\n")
USE = """
import torch, sparsegen
class Network(torch.nn.Module):
    def forward(self, x):
        return x.relu(), x.exp()
x = torch.randn(2, 3)
model = sparsegen.compile(Network().eval(), (x,), database=None)
assert torch.equal(model(x)[0], x.relu())
print([layer.kernel for layer in model.layers])
"""


def installed(folder: Path, source: str) -> Path:
    """A package that registers implementations, as pip would leave it in a folder."""
    (folder / "toy_kernels.py").write_text(source)
    about = folder / "toy_kernels-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-kernels\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[sparsegen.implementations]\ntoy = toy_kernels:implementations\n"
    )
    return folder


def test_an_installed_package_registers_an_implementation(tmp_path: Path) -> None:
    there = f"import sys\nsys.path.insert(0, {str(installed(tmp_path, TOY))!r})\n"
    done = run("-c", there + USE)
    assert done.stdout == "['toy', 'pointwise']\n", done.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("def implementations():\n    raise ValueError('no luck')", "no luck"),
        ("implementations = 3", "'int' object is not callable"),
        (TWICE, "Identity has an implementation called 'toy'"),
    ],
)
def test_a_package_that_fails(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, source))
    monkeypatch.delitem(sys.modules, "toy_kernels", raising=False)
    monkeypatch.setattr(registry, "_loaded", False)
    before = {core: list(each) for core, each in registry._IMPLEMENTATIONS.items()}
    for _ in range(2):
        with pytest.raises(
            ToolchainError, match=rf"toy_kernels:implementations \(entry point 'toy'.*{reason}"
        ):
            implementations_of(Linear)
    assert before == registry._IMPLEMENTATIONS
