"""Names, inputs, constants and the structure of a model's results."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import sparsegen
from sparsegen.frontend import from_torch
from tests.frontend.checking import Function, check, describe, images
from tests.reference import evaluate


def test_single_tensor_has_no_output_spec() -> None:
    graph = check(nn.ReLU().eval(), images())
    assert graph.output_spec is None
    assert len(graph.outputs) == 1


def test_nested_results_are_rebuilt() -> None:
    def nested(x: Tensor, y: Tensor) -> dict[str, Any]:
        return {"sum": x + y, "parts": (x.relu(), [y.neg()])}

    inputs = (images(2, 3), images(2, 3, seed=1))
    graph = check(Function(nested), *inputs)
    rebuilt = pytree.tree_unflatten(list(evaluate(graph, inputs)), graph.output_spec)
    assert set(rebuilt) == {"sum", "parts"}
    torch.testing.assert_close(rebuilt["parts"][1][0], inputs[1].double().neg())


def test_inputs_keep_their_order_and_unread_ones_stay() -> None:
    def second_minus_first(first: Tensor, unread: Tensor, second: Tensor) -> Tensor:
        return second - first

    inputs = (images(2, 3), images(5), images(2, 3, seed=1))
    graph = check(Function(second_minus_first), *inputs)
    assert list(graph.inputs.values()) == [(2, 3), (5,), (2, 3)]


def test_inputs_as_results_get_layers_and_constants_are_known() -> None:
    constant = images(4)
    graph = check(Function(lambda x, c: (x, c, x.view(2, 3), c * 2, x.relu()), constant), images(2, 3))
    assert sorted(describe(graph)) == ["Identity"] * 2 + ["Identity relu"]
    assert len(set(graph.outputs)) == 3
    assert set(graph.outputs) <= {layer.name for layer in graph.layers}
    assert graph.known_outputs.keys() == {1, 3}
    assert torch.equal(graph.known_outputs[1], constant)
    assert torch.equal(graph.known_outputs[3], constant * 2)


def test_one_value_as_two_results() -> None:
    def twice(value: Tensor) -> tuple[Tensor, Tensor]:
        result = value.relu()
        return result, result

    graph = check(Function(twice), images(2, 3))
    assert graph.outputs[0] == graph.outputs[1]


def test_layers_bear_module_paths() -> None:
    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
            self.softmax = nn.Softmax(1)

        def forward(self, value: Tensor) -> Tensor:
            return self.block(self.softmax(self.block(self.softmax(value))))

    graph = check(Repeated().eval(), images())
    assert [layer.name for layer in graph.layers] == ["softmax", "block.0", "softmax#2", "block.0#2"]


def test_layers_of_the_model_itself_bear_operator_names() -> None:
    graph = check(Function(lambda x: x.softmax(1).relu().softmax(2)), images())
    assert [layer.name for layer in graph.layers] == ["softmax", "relu", "softmax#2"]


def test_names_of_constants() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Module()
            self.inner.scale = nn.Parameter(images(4, 1, 1))
            self.register_buffer("offset", images(8), persistent=False)

        def forward(self, value: Tensor) -> Tensor:
            return value * self.inner.scale + self.offset + self.inner.scale

    graph = check(Scaled().eval(), images())
    assert set(graph.constants) == {"inner.scale", "offset"}
    assert describe(graph) == ["Identity mul add add"]


def test_unread_layers_and_constants_are_removed() -> None:
    def wasteful(value: Tensor, constant: Tensor) -> Tensor:
        parts = (value + constant).split(1, 1)
        return value.chunk(2, 1)[0] if len(parts) else value

    graph = check(Function(wasteful, images(8)), images())
    assert describe(graph) == ["Slice"]
    assert not graph.constants


def test_exported_program() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Dropout()).eval()
    program = torch.export.export(model, (images(),))
    graph = from_torch(program, (images(),))
    assert describe(graph) == ["Conv2d relu"]
    (result,) = evaluate(graph, (images(),))
    expected = F.relu(F.conv2d(images(), model[0].weight, model[0].bias))
    torch.testing.assert_close(result, expected.detach().double(), rtol=1e-5, atol=1e-6)


def test_no_grad_inside_the_model_is_seen_through() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, value: Tensor) -> Tensor:
            with torch.no_grad():
                return self.conv(value).relu()

    assert [layer.name for layer in check(Frozen().eval(), images()).layers] == ["conv"]


def test_inputs_of_the_same_name_as_a_module() -> None:
    class Clash(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.x(x)

    graph = check(Clash().eval(), images())
    assert list(graph.inputs) == ["x"]
    assert [layer.name for layer in graph.layers] == ["x#2"]


def test_one_tensor_as_two_inputs_is_two_inputs() -> None:
    """torch.export takes it for one; a call gives others."""
    cell, zeros, x = nn.LSTMCell(3, 4).eval(), torch.zeros(2, 4), images(2, 3)
    given = images(2, 4, seed=1), images(2, 4, seed=2)
    wanted = cell(x, given)
    nested = sparsegen.compile(cell, (x, (zeros, zeros)), threads=1)
    named = sparsegen.compile(cell, (x,), {"hx": (zeros, zeros)}, threads=1)
    for found in (nested(x, given), named(x, hx=given)):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    other = sparsegen.compile(Function(lambda a, b, c: a - b * c), (zeros, zeros, zeros[:]), threads=1)
    torch.testing.assert_close(other(*given, given[0] + 1), given[0] - given[1] * (given[0] + 1))
    held = nn.Linear(3, 4).eval()
    own = sparsegen.compile(Weighted(held), (held.weight,), threads=1)
    torch.testing.assert_close(own(images(4, 3)), Weighted(held)(images(4, 3)), rtol=1e-4, atol=1e-5)


class Weighted(nn.Module):
    """An input times a weight that may be that input's example."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layer.weight
