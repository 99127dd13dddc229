"""Graphs cut into operators: each layer in one, no circles, and the parts together compute the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx
import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.errors import ModelError, OptionError, PlanError
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from sparsegen.hetero.operators.cut import GRANULARITIES, Granularity, operators, part_of
from sparsegen.hetero.operators.operators import Operator
from sparsegen.torch_graph.graph import TorchGraph
from tests.frontend.checking import Function, images
from tests.hetero.networks import Cells, Decoder, Inception, MaskedEncoder, Mixed, small
from tests.random_networks import RandomNetwork
from tests.sampling import examples

Made = Callable[[LayerGraph], Callable[..., Any]]


def check_operators(graph: LayerGraph, found: tuple[Operator, ...]) -> None:
    """Every layer is in one operator; these are in an order that runs, and agree with their graphs."""
    assert sorted(name for each in found for name in each.layers) == sorted(
        each.name for each in graph.layers
    )
    names = [each.name for each in found]
    assert len({*names, *graph.inputs}) == len(names) + len(graph.inputs)
    done = set(graph.inputs)
    for each in found:
        assert done.issuperset(each.reads), f"{each.name} runs too early"
        done.add(each.name)
        part = part_of(graph, each.layers)
        assert {form.name: form.shape for form in each.inputs} == part.inputs
        assert [form.dtype for form in each.inputs] == [part.input_dtype(name) for name in part.inputs]
        assert tuple(form.name for form in each.outputs) == part.outputs
        assert each.bytes == sum(
            torch.empty(form.shape, dtype=getattr(torch, form.dtype), device="meta").nbytes
            for form in each.outputs
        )


def run_parts(graph: LayerGraph, found: tuple[Operator, ...], made: Made, inputs: Any) -> list[Tensor]:
    """The graph's outputs, computed by its operators one after the other."""
    values = dict(zip(graph.inputs, inputs, strict=True))
    for each in found:
        results = made(part_of(graph, each.layers))(*(values[form.name] for form in each.inputs))
        values.update((form.name, result) for form, result in zip(each.outputs, results, strict=True))
    return [values[name] for name in graph.outputs]


def whole(graph: LayerGraph) -> LayerGraph:
    return part_of(graph, [layer.name for layer in graph.layers])


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(8, soak=2000)
@given(st.integers(0, 1 << 32), st.sampled_from(GRANULARITIES))
def test_random_networks(seed: int, granularity: Granularity) -> None:
    network = RandomNetwork(seed)
    note(f"network {seed}: {network.describe()}")
    graph = from_torch(network, network.inputs)
    found = operators(graph, granularity)
    check_operators(graph, found)
    results = run_parts(graph, found, TorchGraph, network.inputs)
    together = dict(zip(whole(graph).outputs, TorchGraph(whole(graph))(*network.inputs), strict=True))
    for name, result in zip(graph.outputs, results, strict=True):
        torch.testing.assert_close(result, together[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(2, soak=300)
@given(st.integers(0, 1 << 32), st.sampled_from(["layer", "block"]))
def test_compiled_parts(seed: int, granularity: Granularity) -> None:
    network = RandomNetwork(seed)
    note(f"network {seed}: {network.describe()}")
    graph = from_torch(network, network.inputs)
    compiled = run_parts(
        graph, operators(graph, granularity), lambda part: compile_graph(part, threads=1), network.inputs
    )
    for result, expected in zip(
        compiled, run_parts(graph, operators(graph, "model"), TorchGraph, network.inputs), strict=True
    ):
        largest = float(expected.double().abs().max())
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4 * max(1.0, largest))


@st.composite
def random_graphs(draw: st.DrawFn) -> LayerGraph:
    """Additions that read any two values before them, of one shape; several inputs and outputs."""
    count = draw(st.integers(1, 24))
    inputs = [f"x{at}" for at in range(draw(st.integers(1, 3)))]
    reads = [
        [draw(st.integers(max(0, at + len(inputs) - 6), at + len(inputs) - 1)) for _ in range(2)]
        for at in range(count)
    ]
    function = Function(lambda *given: added(list(given), reads))
    return from_torch(function, tuple(images(2, 3, seed=at) for at in range(len(inputs))))


def added(values: list[Tensor], reads: list[list[int]]) -> list[Tensor]:
    for first, second in reads:
        values.append((values[first].sigmoid() + values[second]).sin())
    return [values[-1], values[-2].relu()]


@examples(15, soak=5000)
@given(random_graphs(), st.sampled_from(GRANULARITIES))
def test_random_graphs(graph: LayerGraph, granularity: Granularity) -> None:
    found = operators(graph, granularity)
    check_operators(graph, found)
    assert found == operators(graph, granularity)
    inputs = tuple(images(2, 3, seed=at) for at in range(len(graph.inputs)))
    for result, expected in zip(
        run_parts(graph, found, TorchGraph, inputs), TorchGraph(graph)(*inputs), strict=True
    ):
        assert torch.equal(result, expected)


@examples(10, soak=2000)
@given(random_graphs(), st.data())
def test_any_set_of_layers_is_a_part_or_refused(graph: LayerGraph, data: st.DataObject) -> None:
    names = [layer.name for layer in graph.layers]
    chosen = data.draw(st.sets(st.sampled_from(names), min_size=1))
    edges = networkx.DiGraph(
        [(read, layer.name) for layer in graph.layers for read in layer.reads() if read in names]
    )
    edges.add_nodes_from(names)
    between = {
        name
        for name in set(names) - chosen
        if chosen & networkx.ancestors(edges, name) and chosen & networkx.descendants(edges, name)
    }
    if between:
        with pytest.raises(PlanError, match="needs a result of the same operator"):
            part_of(graph, chosen)
        return
    part = part_of(graph, chosen)
    assert [layer.name for layer in part.layers] == [name for name in names if name in chosen]


def test_constants_stay_with_those_that_read_them() -> None:
    network = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 4), nn.LayerNorm(4)).eval()
    with torch.no_grad():
        network[0].weight.uniform_(), network[2].weight.uniform_()
    graph = from_torch(network, (images(3, 5),))
    found = operators(graph, "layer")
    assert len(graph.constants) >= 2
    kept = [len(part_of(graph, each.layers).constants) for each in found]
    assert sum(kept) == len(graph.constants)
    assert max(kept) < len(graph.constants)


@pytest.mark.filterwarnings("ignore:torch itself computes")
def test_results_of_one_operator_stay_together() -> None:
    graph = from_torch(Function(lambda x: (r := x.exp().topk(3)) and (r[0].neg(), r[1] + 1)), (images(2, 5),))
    found = operators(graph, "layer")
    check_operators(graph, found)
    several = next(each for each in found if len(each.layers) == 3)
    assert [form.dtype for form in several.outputs] == ["float32", "int64"]
    assert part_of(graph, several.layers[:1]).outputs == part_of(graph, several.layers).outputs
    with pytest.raises(PlanError, match="the two stay together"):
        part_of(graph, several.layers[1:])


def test_blocks_of_an_inception_network() -> None:
    graph = from_torch(Inception(), (images(1, 3, 12, 12),))
    found = operators(graph, "block")
    check_operators(graph, found)
    of = {each.name: each for each in found}
    branches = {f"mixed.0.{name}" for name in ("one", "row", "pool", "parting")}
    assert {of[name].reads for name in branches} == {("stem",)}
    assert [of["mixed.0.wide"].reads, of["mixed.0.high"].reads] == [("mixed.0.parting",)] * 2
    assert len(of["mixed.0.row"].layers) == len(of["mixed.0.pool"].layers) == 2
    joint = {*branches, "mixed.0.wide", "mixed.0.high"} - {"mixed.0.parting"}
    assert [each.name for each in found if joint == {*each.reads}] == ["mixed.0#2"]
    assert [each.name for each in operators(graph, "model")] == ["model"]


def test_blocks_of_a_residual_network() -> None:
    network, inputs = small("resnet18")
    found = operators(from_torch(network, inputs), "block")
    of = {each.name: each for each in found}
    assert len(of["features.stage1.unit1.body"].layers) == 2
    # The block that also convolves what it adds is two branches and their meeting.
    assert of["features.stage2.unit1.identity_conv.conv"].reads == ("features.stage1.unit2.body",)
    assert len(of["features.stage2.unit1.body.conv2.conv"].reads) == 2


def test_cells_that_read_the_two_before_are_cut_into_chains() -> None:
    graph = from_torch(Cells(), (images(1, 3, 9, 9),))
    found = operators(graph, "block")
    check_operators(graph, found)
    assert len(graph.layers) > len(found) > 8


def test_a_mask_is_a_branch_of_its_own() -> None:
    graph = from_torch(MaskedEncoder(), (images(1, 6, 8), torch.ones(1, 6, 6)))
    found = operators(graph, "block")
    check_operators(graph, found)
    of_mask = [each for each in found if each.reads == ("mask",)]
    assert len(of_mask) == 1
    (value,) = of_mask
    readers = [each for each in found if value.name in each.reads]
    assert len(readers) == 2
    assert len(found) >= 10


def test_long_blocks_are_divided() -> None:
    """A U-Net is one block from its first skip to its last: too much to place as one."""

    def unet(x: Tensor) -> Tensor:
        skips = []
        for _ in range(8):
            skips.append(x := x.sin().softmax(1))
        for skip in reversed(skips):
            x = (x.softmax(1) + skip).sin()
        return x

    graph = from_torch(Function(unet), (images(2, 3),))
    found = operators(graph, "block")
    check_operators(graph, found)
    assert max(len(each.layers) for each in found) <= 16
    assert len(found) > 2


def test_a_network_of_the_zoo() -> None:
    network, inputs = small("inceptionv3")
    graph = from_torch(network, inputs)
    for granularity in GRANULARITIES:
        check_operators(graph, operators(graph, granularity))
    blocks = operators(graph, "block")
    assert len(graph.layers) / 4 < len(blocks) < len(graph.layers)


def test_states_are_carried() -> None:
    graph = from_torch(Decoder(), (images(2, 5), images(2, 7)))
    state, new = list(graph.inputs)[1], graph.outputs[1]
    for granularity in GRANULARITIES:
        found = operators(graph, granularity, carried={state: new})
        owner = next(each.name for each in found if new in each.layers)
        readers = [each for each in found if state in {form.name for form in each.inputs}]
        assert readers
        assert all(each.carries == (owner,) for each in readers)
        assert all(state not in each.reads for each in found)
        assert all(not each.carries for each in found if each not in readers)


def test_what_is_refused() -> None:
    graph = from_torch(Mixed(8).eval(), (images(1, 8, 5, 5),))
    decoder = from_torch(Decoder(), (images(2, 5), images(2, 7)))
    _, state = decoder.inputs
    score, new = decoder.outputs
    for call, kind, message in (
        (lambda: part_of(graph, ["one", "twos"]), PlanError, "no layer of the model is called 'twos'"),
        (lambda: part_of(graph, []), PlanError, "at least one layer"),
        (lambda: part_of(graph, ["row.0", graph.layers[-1].name]), PlanError, "needs a result of the same"),
        (lambda: operators(graph, "cell"), OptionError, "layer, block, model"),  # type: ignore[arg-type]
        (lambda: operators(LayerGraph({"x": (1,)}, [], ("x",))), PlanError, "no layers"),
        (lambda: operators(decoder, carried={"h": new}), PlanError, "is no input"),
        (lambda: operators(decoder, carried={state: "h"}), PlanError, "no layer gives"),
        (lambda: operators(decoder, carried={state: score}), ModelError, "of shape"),
    ):
        with pytest.raises(kind, match=message):
            call()
