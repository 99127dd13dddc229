"""Layers that run at once compute bit for bit what they compute one after the other."""

from __future__ import annotations

import json
import random
from dataclasses import replace

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
from sparsegen.runtime.program_json import from_json, to_json
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
    """Runs of layers, each in groups, drawn for each layer; some layers are left out."""
    plain = plain_values(graph)
    names = [each.name for each in graph.layers if each.name not in plain and plain.isdisjoint(each.reads())]
    stages = []
    while names:
        count = draw.randint(1, 6)
        run, names = names[:count], names[count:]
        if draw.random() < 0.15:
            continue
        groups: list[list[str]] = [[] for _ in range(min(threads, draw.randint(1, len(run))))]
        for at, name in enumerate(run):
            groups[at if at < len(groups) else draw.randrange(len(groups))].append(name)
        spare = [threads - len(groups)] + [0] * (len(groups) - 1)
        stages.append(
            tuple(LayerGroup(tuple(group), 1 + more) for group, more in zip(groups, spare, strict=True))
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
    assert [len(group.calls) for group in stage.groups] == [1, 1]
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
        ([(LayerGroup(("cat", "left"), 1), LayerGroup(("right",), 1))], "in a circle, at layers"),
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


def call_stage(first: int, *groups: tuple[int, ...], end: int = 0, **after: tuple[int, ...]) -> CallStage:
    """A stage of groups of calls on one thread each."""
    last = max((call for group in groups for call in group), default=first)
    waits = {int(call.removeprefix("c")): others for call, others in after.items()}
    return CallStage(first, end or last + 1, tuple(CallGroup(group, 1) for group in groups), waits)


@pytest.mark.parametrize(
    ("stages", "fault"),
    [
        ((CallStage(1, 3, (CallGroup((1,), 1), CallGroup((2,), 2))),), "more than 2 threads"),
        ((CallStage(1, 2, (CallGroup((1,), 0),)),), "without threads"),
        ((CallStage(1, 2, ()),), "or no call"),
        ((call_stage(1, (1,), end=99),), "of 6, 0 are past"),
        ((call_stage(2, (2,)), call_stage(1, (1,))), "3 are past"),
        ((call_stage(1, (2, 1)),), "in another order"),
        ((call_stage(1, (1,), end=3),), "not each of the calls"),
        ((call_stage(1, (1, 2), (2,)),), "not each of the calls"),
        ((call_stage(1, (1,), (2,), c1=(2,)),), "after one that is not before it"),
        ((call_stage(1, (1,), (2,), c2=(0,)),), "after one that is not before it"),
        ((call_stage(0, (0,)),), "not on the arena alone"),
        ((call_stage(2, (2,), (3,)),), "calls 2 and 3 of stage 0 meet"),
    ],
)
def test_the_check_of_stages(stages: tuple[CallStage, ...], fault: str) -> None:
    program = compile_plan(two_branches().staged([AT_ONCE])).program
    assert not list(faults(program))
    found = list(faults(replace(program, stages=stages)))
    assert any(fault in each for each in found), found


def test_a_call_that_waits_may_use_what_it_waits_for() -> None:
    program = compile_plan(two_branches().staged([AT_ONCE])).program
    assert not list(faults(replace(program, stages=(call_stage(2, (2,), (3,), c3=(2,)),))))


def test_stages_are_written_down() -> None:
    plan = two_branches().staged([(LayerGroup(("left", "cat"), 1), LayerGroup(("right",), 1))])
    program = compile_plan(plan).program
    (stage,) = program.stages
    assert stage.after
    written = json.loads(json.dumps(to_json(program)))
    assert from_json(written, program.weights, program.library).stages == (stage,)
