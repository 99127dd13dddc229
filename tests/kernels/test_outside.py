"""Implementations of other packages: what they may get wrong is told of them, and no traceback of theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.cost import Cost
from sparsegen.errors import ModelError, ToolchainError
from sparsegen.graph import Identity, Layer, Linear, SeparableConv2d
from sparsegen.inspection.layer import inspect_layer
from sparsegen.kernels import registry
from sparsegen.kernels.convert import DenseStore
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.pointwise import pointwise
from sparsegen.kernels.registry import Context, best_offer, register
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import plan_layout
from sparsegen.target import parse_target
from tests.kernels.contract import conv_graph, weights
from tests.kernels.test_separable import pair

STORE = DenseStore(plan_layout((1,), lanes=8, batch_lanes=False))
COST = Cost(1e-12, 0, 0, "predicted")


class Toy(Implementation):
    """Computes as we do, and says that it is faster; `wrong` is what a verb gives, or raises, instead."""

    kinds = ("toy",)

    def __init__(self, name: str = "toy", **wrong: Any) -> None:
        self.name, self.wrong = name, wrong

    def answer(self, verb: str, right: Any) -> Any:
        answer = self.wrong.get(verb, right)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def accepts(self, layer: Layer, context: Context) -> str | None:
        answer: str | None = self.answer("accepts", None)
        return answer

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        answer: bool = self.answer("takes", False)
        return answer

    def offer(self, layer: Layer, context: Context) -> Offer:
        answer: Offer = self.answer("offer", Offer(self, self.wrong.get("cost", COST)))
        return answer

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        kernel: Kernel = self.answer("build", replace(pointwise(layer, context), kind="toy"))
        return kernel


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Registers for one test."""
    registry.implemented_cores()

    def add(core: type, toy: Implementation) -> None:
        monkeypatch.setitem(registry._IMPLEMENTATIONS, core, [*registry._IMPLEMENTATIONS[core]])
        register(core, toy)

    return add


class Network(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


def compiled() -> sparsegen.CompiledModel:
    return sparsegen.compile(
        Network().eval(), (torch.ones(2, 3),), threads=1, target="haswell", database=None
    )


def test_a_sound_one_is_used(registered: Any) -> None:
    registered(Identity, Toy())
    assert [layer.kernel for layer in compiled().layers] == ["toy"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accepts": ZeroDivisionError("by nothing")}, "`accepts` .* fails (ZeroDivisionError: by nothing)"),
        (
            {"accepts": True},
            "`accepts` .* gives True, where None, or a phrase that tells why not",
        ),
        ({"accepts": False}, "`accepts` .* gives False, where None"),
        ({"accepts": ""}, "`accepts` .* gives '', where None"),
        ({"offer": None}, "`offer` .* gives None, where an Offer is expected"),
        ({"offer": KeyError("x")}, "`offer` .* fails (KeyError: 'x')"),
        ({"cost": 1e-12}, "`offer` .* gives 1e-12, where a Cost as its cost"),
        ({"cost": replace(COST, seconds=float("nan"))}, "gives nan, where a number of seconds from 0 on"),
        ({"cost": replace(COST, seconds=float("inf"))}, "gives inf, where a number of seconds"),
        ({"cost": replace(COST, seconds=-1.0)}, "gives -1.0, where a number of seconds"),
        ({"cost": replace(COST, seconds="fast")}, "gives 'fast', where a number of seconds"),
        ({"cost": replace(COST, origin="guess")}, "gives 'guess', where an origin of measured, predicted,"),
        ({"build": RuntimeError("boo")}, "`build` .* fails (RuntimeError: boo)"),
        ({"build": None}, "`build` .* gives None, where a Kernel is expected"),
        ({"build": Kernel("other", None, STORE, ())}, "gives 'other', where a kernel of kind toy"),
    ],
)
def test_what_they_get_wrong(wrong: dict[str, Any], message: str, registered: Any) -> None:
    registered(Identity, Toy(**wrong))
    pattern = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(
        ToolchainError, match=rf"layer 'exp': .*{pattern}.*mend or uninstall that package"
    ) as told:
        compiled()
    assert "implementation 'toy' of Identity from the module tests.kernels.test_outside" in str(told.value)


def test_our_own_errors_are_passed_on(registered: Any) -> None:
    registered(Identity, Toy(build=ModelError("not this layer")))
    with pytest.raises(ModelError, match=r"^not this layer$"):
        compiled()


@pytest.mark.parametrize("name", ["mine", "rows", "separable", "masked_vectors"])
def test_inspect_tells_of_those_that_are_called_as_ours_of_another_core(name: str, registered: Any) -> None:
    registered(TapConv2d, Toy(name))
    graph = conv_graph(weights((16, 8, 3, 3), "half"), (8, 8, 9, 9), padding=(1, 1, 1, 1))
    plan = plan_graph(graph, threads=1, target=parse_target("haswell"))
    (told,) = inspect_layer(plan.layer("layer"), plan)
    assert (told.format, told.why) == (name, f"{name} is estimated to take 0 cycles, the least")


@pytest.mark.parametrize("batch", [1, 8])
def test_those_of_separable_convolutions_are_asked(batch: int, registered: Any) -> None:
    registered(SeparableConv2d, Toy())
    plan = plan_graph(pair(batch, 16, (9, 9), 8), threads=1, target=parse_target("haswell"))
    layer = plan.layer("pointwise")
    assert isinstance(layer.core, SeparableConv2d)
    assert best_offer(layer, plan.context).implementation.name == "toy"
    assert [(told.name, told.format) for told in inspect_layer(layer, plan)] == [
        ("depthwise", "grouped"),
        ("pointwise", "toy"),
    ]


class Unnamed(Toy):
    def __init__(self, name: Any) -> None:
        super().__init__(name)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((Identity, object()), "is no Implementation: derive its class from that"),
        ((Identity, Toy), "the class Toy is registered: give an instance of it"),
        (("Identity", Toy()), "'Identity' is no core operator that layers have"),
        ((int, Toy()), "<class 'int'> is no core operator that layers have"),
        ((Identity, Unnamed(None)), "is None: give it one"),
        ((Identity, Unnamed(" ")), "is ' ': give it one"),
        ((Identity, Toy(), 3), "too many values to unpack"),
        (SystemExit(3), "3"),
    ],
)
def test_what_cannot_be_registered(pair: Any, message: str) -> None:
    class Point:
        name, value, group = "toy", "toy_kernels:implementations", "sparsegen.implementations"

        def load(self) -> Any:
            if isinstance(pair, SystemExit):
                raise pair
            return lambda: [(Linear, Toy("first")), pair]

    registry.implemented_cores()
    before = {core: list(each) for core, each in registry._IMPLEMENTATIONS.items()}
    with pytest.raises(ToolchainError, match=r"toy_kernels:implementations \(entry point 'toy' of ") as told:
        registry._register_all([Point()])  # type: ignore[list-item]
    assert message in str(told.value)
    assert before == registry._IMPLEMENTATIONS
