"""A network that is cut anywhere into parts, compiled alone, computes bit for bit what the whole does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.compiler import compile_plan
from sparsegen.errors import PlanError
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from sparsegen.kernels.plan import PlannedGraph, plan_graph
from sparsegen.runtime.check import check_program
from sparsegen.target import parse_target
from tests.random_networks import RandomNetwork
from tests.sampling import examples


def planned(graph: LayerGraph) -> PlannedGraph:
    return plan_graph(graph, threads=1, target=parse_target())


def run(plan: PlannedGraph, values: dict[str, Tensor]) -> None:
    """Compile a plan, call it on the values that its inputs name, and add those that it gives."""
    compiled = compile_plan(plan)
    check_program(compiled.program)
    results = compiled(*(values[name] for name in plan.graph.inputs))
    results = results if isinstance(results, tuple) else (results,)
    for name, result in zip(plan.graph.outputs, results, strict=True):
        values[name.removesuffix("#buffer")] = result


def run_in_parts(plan: PlannedGraph, cuts: list[int], inputs: tuple[Any, ...]) -> list[Tensor]:
    """The outputs of a plan, computed by parts that end before the layers of these numbers."""
    names = [layer.name for layer in plan.graph.layers]
    values = dict(zip(plan.graph.inputs, inputs, strict=True))
    edges = sorted({0, *cuts, len(names)})
    for begin, end in itertools.pairwise(edges):
        run(plan.part(names[begin:end]), values)
    return [values[name] for name in plan.graph.outputs]


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(8, soak=300)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 30), min_size=1, max_size=3))
def test_networks_cut_anywhere(seed: int, cuts: list[int]) -> None:
    network = RandomNetwork(seed)
    graph = from_torch(network, network.inputs)
    plan = planned(graph)
    cuts = [cut % len(plan.graph.layers) for cut in cuts]
    note(f"network {seed}: {network.describe()}, cut before {cuts}")
    whole = dict(zip(plan.graph.inputs, network.inputs, strict=True))
    given_inputs = tuple(whole.values())
    run(PlannedGraph(plan.source, without_structure(plan.graph), plan.context, plan.padded), whole)
    expected = [whole[name] for name in plan.graph.outputs]
    for result, wanted in zip(run_in_parts(plan, cuts, given_inputs), expected, strict=True):
        torch.testing.assert_close(result, wanted, rtol=0, atol=0, equal_nan=True)


def without_structure(graph: LayerGraph) -> LayerGraph:
    """The graph, its results one tuple."""
    return LayerGraph(
        graph.inputs,
        graph.layers,
        graph.outputs,
        graph.constants,
        output_spec=torch.utils._pytree.tree_structure(tuple(graph.outputs)),
        input_dtypes=graph.input_dtypes,
    )


def test_what_is_no_part() -> None:
    network = Branches().eval()
    plan = planned(from_torch(network, (torch.ones(1, 3, 9, 9),)))
    with pytest.raises(PlanError, match=r"names of layers, and 'nope', 'other' is none: there are .*first"):
        plan.part(["first", "nope", "other"])
    with pytest.raises(PlanError, match=r"names of layers, and 'first' is none"):
        plan.part("first")
    with pytest.raises(PlanError, match=r"of the part reads '[a-z]+', which is computed elsewhere"):
        plan.part(["first", "right"])
    assert plan.part(["first", "right", "left"]).graph.outputs == ("right#buffer",)


class Branches(nn.Module):
    """Two convolutions with padding that read one value, and meet again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.left(x) + self.right(x)


@pytest.mark.parametrize("batch", [1, 16])
def test_edges_are_buffers_as_they_lie(batch: int) -> None:
    torch.manual_seed(0)
    network, x = Branches().eval(), torch.randn(batch, 3, 9, 9)
    plan = planned(from_torch(network, (x,)))
    names = [layer.name for layer in plan.graph.layers]
    at = names.index("first") + 1
    first, second = plan.part(names[:at]), plan.part(names[at:])
    layout = plan.context.layout("first")
    assert first.graph.outputs == ("first#buffer",)
    assert list(second.graph.inputs) == ["first"]
    model = compile_plan(second)
    assert model.input_shapes == ((layout.groups, layout.size),)
    assert [layer.name for layer in model.layers] == [n for n in names[at:] if not n.startswith("output")]
    (buffer,) = compile_plan(first)(x)
    assert buffer.shape == (layout.groups, layout.size)
    (result,) = model(buffer)
    with torch.no_grad():
        torch.testing.assert_close(result, network(x), rtol=1e-4, atol=1e-5)
    # A caller's buffer may start anywhere.
    shifted = torch.empty(buffer.numel() + 1)[1:].view(buffer.shape).copy_(buffer)
    assert torch.equal(model(shifted)[0], result)


class Several(nn.Module):
    """An operator of torch's with two results, both of which kernels read."""

    def forward(self, x: Tensor) -> Tensor:
        values, places = x.exp().topk(3)
        return values.neg() + places


@pytest.mark.filterwarnings("ignore:torch itself computes")
def test_results_of_one_operator_stay_together() -> None:
    x = torch.randn(2, 5)
    plan = planned(from_torch(Several().eval(), (x,)))
    names = [layer.name for layer in plan.graph.layers]
    for cut in range(1, len(names)):
        (result,) = run_in_parts(plan, [cut], (x,))
        torch.testing.assert_close(result, Several()(x))
