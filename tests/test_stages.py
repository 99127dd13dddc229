"""Layers that run at once compute bit for bit what they compute one after the other."""

from __future__ import annotations

import random
from dataclasses import replace

import networkx
import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.compiler import compile_plan
from sparsegen.errors import OptionError, PlanError
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph, PlainCore
from sparsegen.kernels.conversions import plain_values
from sparsegen.kernels.plan import PlannedGraph, plan_graph
from sparsegen.kernels.stages import LayerGroup, LayerStage
from sparsegen.runtime.check import check_program, faults
from sparsegen.runtime.model import CompiledModel, bind
from sparsegen.runtime.program import CallGroup, CallStage
from sparsegen.target import parse_target
from tests.sampling import examples

THREADS = 3
CALLS = 5  # of each model: threads meet in another order each time


class Branching(nn.Module):
    """A random graph of small convolutions and poolings on images of one size, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        self.channels = draw.choice((3, 8, 17))
        self.inputs = (torch.randn(draw.choice((1, 2)), self.channels, 9, 9),)
        self.nodes = nn.ModuleList(self._node(draw) for _ in range(draw.randint(4, 12)))
        self.reads = [
            sorted({draw.randint(max(0, at - 5), at) for _ in range(draw.choice((1, 1, 2)))})
            for at in range(len(self.nodes))
        ]
        self.eval()

    def _node(self, draw: random.Random) -> nn.Module:
        match draw.choice(("conv", "conv", "depthwise", "pool", "relu")):
            case "pool":
                return nn.MaxPool2d(3, stride=1, padding=1)
            case "relu":
                return nn.ReLU()
            case kind:
                size = draw.choice((1, 3, 5))
                groups = self.channels if kind == "depthwise" else 1
                return nn.Conv2d(self.channels, self.channels, size, padding=size // 2, groups=groups)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for node, reads in zip(self.nodes, self.reads, strict=True):
            values.append(node(sum(values[at] for at in reads) / len(reads)))
        return values[-1], values[len(values) // 2]


def planned(network: Branching, threads: int = THREADS) -> PlannedGraph:
    graph = from_torch(network, network.inputs)
    return plan_graph(graph, threads=threads, target=parse_target())


def random_stages(graph: LayerGraph, draw: random.Random, threads: int) -> list[LayerStage]:
    """Runs of layers, each in groups that do not depend on each other; some layers are left out."""
    plain = plain_values(graph)
    names = [each.name for each in graph.layers if each.name not in plain and plain.isdisjoint(each.reads())]
    edges = networkx.DiGraph()
    edges.add_nodes_from(layer.name for layer in graph.layers)
    edges.add_edges_from((r, layer.name) for layer in graph.layers for r in layer.reads() if r in edges)
    stages = []
    while names:
        count = draw.randint(1, 6)
        run, names = names[:count], names[count:]
        if draw.random() < 0.15:
            continue
        before, after = (
            set().union(*(reach(edges, each) for each in run))
            for reach in (networkx.ancestors, networkx.descendants)
        )
        # Layers that are in no stage tie together what they lie between.
        within = edges.subgraph({*run, *(before & after)})
        parts = [[r for r in run if r in part] for part in networkx.weakly_connected_components(within)]
        groups: list[list[str]] = [[] for _ in range(min(threads, len(parts)))]
        for at, part in enumerate(parts):
            groups[at % len(groups)] += part
        spare = [threads - len(groups)] + [0] * (len(groups) - 1)
        stages.append(
            tuple(
                LayerGroup(tuple(sorted(group, key=run.index)), 1 + more)
                for group, more in zip(groups, spare, strict=True)
            )
        )
    return stages


def in_turn(model: CompiledModel) -> CompiledModel:
    """The same kernels on the same memory, one after the other."""
    return bind(replace(model.program, stages=()))


@examples(8, soak=300)
@given(st.integers(0, 1 << 32))
@pytest.mark.filterwarnings("ignore:3 threads on")
def test_random_stages(seed: int) -> None:
    network = Branching(seed)
    plan = planned(network)
    stages = random_stages(plan.graph, random.Random(seed), THREADS)
    note(f"network {seed} in stages {stages}")
    model = compile_plan(plan.staged(stages))
    check_program(model.program)
    expected = in_turn(model)(*network.inputs)
    with torch.no_grad():
        reference = network.double()(*(x.double() for x in network.inputs))
    for _ in range(CALLS):
        for result, wanted, exact in zip(model(*network.inputs), expected, reference, strict=True):
            assert torch.equal(result, wanted)
            torch.testing.assert_close(result.double(), exact, rtol=1e-4, atol=1e-4)


class TwoBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(4, 8, 5, padding=2)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([self.left(x), self.right(x)], 1))


X = torch.randn(1, 4, 10, 10, generator=torch.Generator().manual_seed(1))


def two_branches() -> PlannedGraph:
    return plan_graph(from_torch(TwoBranches().eval(), (X,)), threads=2, target=parse_target("haswell"))


AT_ONCE = (LayerGroup(("left",), 1), LayerGroup(("right",), 1))


def test_layers_of_a_staged_model_are_timed_and_run_alone() -> None:
    model = compile_plan(two_branches().staged([AT_ONCE]))
    (stage,) = model.program.stages
    assert [group.calls for group in stage.groups] == [1, 1]
    seconds = model.layer_seconds(X)
    assert {"left", "right", "last"} <= seconds.keys()
    model.run_layer("left")
    with pytest.raises(OptionError, match="no layer 'middle'"):
        model.run_layer("middle")
    torch.testing.assert_close(model(X), TwoBranches().eval()(X).detach(), rtol=1e-4, atol=1e-5)


def test_kernels_are_made_for_the_threads_of_their_group() -> None:
    plan = two_branches().staged([AT_ONCE])
    contexts = plan.contexts()
    assert (contexts["left"].threads, contexts["right"].threads, contexts["last"].threads) == (1, 1, 2)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([(LayerGroup(("left", "middle"), 1),)], "no layer is called so"),
        ([AT_ONCE, (LayerGroup(("left",), 1),)], "'left' is in two groups"),
        ([(LayerGroup(("left",), 1), LayerGroup(("right", "last"), 1))], "only this or a later stage"),
        ([(LayerGroup(("left",), 1), LayerGroup(("right", "cat"), 1))], "another group of its stage"),
        ([(LayerGroup(("last",), 2),), AT_ONCE], "this or a later stage"),
        ([(LayerGroup(("left",), 2), LayerGroup(("right",), 1))], "2 . 1 threads; 2 are there"),
        ([(LayerGroup(("left",), 0),)], "0 threads"),
        ([()], "no group"),
        ([(LayerGroup((), 1),)], "without layers"),
    ],
)
def test_stages_that_cannot_be(stages: list[LayerStage], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        two_branches().staged(stages)


def test_what_torch_computes_is_in_no_stage() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sort(torch.relu(x)).values

    with pytest.warns(UserWarning, match="torch itself"):
        graph = from_torch(Sorted().eval(), (X,))
    plan = plan_graph(graph, threads=2, target=parse_target("haswell"))
    name = next(layer.name for layer in plan.graph.layers if isinstance(layer.core, PlainCore))
    with pytest.raises(PlanError, match="plain tensor: it runs alone"):
        plan.staged([(LayerGroup((name,), 1),)])


@pytest.mark.parametrize(
    ("stages", "fault"),
    [
        ((CallStage(1, (CallGroup(1, 1), CallGroup(1, 2))),), "more than 2 threads"),
        ((CallStage(1, (CallGroup(1, 0),)),), "without calls or threads"),
        ((CallStage(1, ()),), "no group"),
        ((CallStage(1, (CallGroup(99, 1),)),), "of 6, 0 are past"),
        ((CallStage(2, (CallGroup(1, 1),)), CallStage(1, (CallGroup(1, 1),))), "3 are past"),
        ((CallStage(0, (CallGroup(1, 1),)),), "not on the arena alone"),
        ((CallStage(2, (CallGroup(1, 1), CallGroup(1, 1))),), "groups 0 and 1 of stage 0 meet"),
    ],
)
def test_the_check_of_stages(stages: tuple[CallStage, ...], fault: str) -> None:
    program = compile_plan(two_branches().staged([AT_ONCE])).program
    assert not list(faults(program))
    found = list(faults(replace(program, stages=stages)))
    assert any(fault in each for each in found), found
