"""Plans that run: models and applications with state on cores, on emulated devices, and on outside kinds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.devices import Device, DeviceKind, Estimate, Machine, Operator, Section, make_device, registry
from sparsegen.devices import register as register_kind
from sparsegen.devices.kind import Runner
from sparsegen.devices.machine import Link, connect, with_host
from sparsegen.errors import DeviceError, InputError, ModelError, PlanError
from sparsegen.frontend import from_torch
from sparsegen.hetero.api import find_plan, plan
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.operators.application import Application
from sparsegen.hetero.operators.application_graph import joined
from sparsegen.hetero.operators.cut import Granularity
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.check import faults
from sparsegen.hetero.plans.plan_json import from_json, to_json
from sparsegen.hetero.plans.streams import ALL_CORES, COPIES, ONE_CORE, PIPELINE
from tests.frontend.checking import images
from tests.hetero.networks import Decoder
from tests.sampling import large

FRAMES = [images(2, 3, 8, 8, seed=seed) for seed in range(6)]
CORES = sorted(os.sched_getaffinity(0))
pytestmark = pytest.mark.usefixtures("no_thread_left")


class Encoder(nn.Module):
    """Features of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))


class Projection(nn.Module):
    """A linear layer of an input, plus a state."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(7, 7)
        self.eval()

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return self.linear(x).tanh() + state


class Shares(nn.Module):
    """A softmax of an input less a state."""

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return (x - state).softmax(1)


def captioner() -> Application:
    """An encoder and a recurrent decoder, whose scores come before its state."""
    torch.manual_seed(0)
    app = Application()
    frame = app.input("frame", FRAMES[0])
    features = app.add("encoder", Encoder(), frame)
    scores, _ = app.add("decoder", Decoder(), features, carried=("state", torch.ones(2, 7)))
    app.returns(scores)
    return app


def tangled() -> Application:
    """Two states that one result feeds, read by two operators; a state and an input are returned, too."""
    torch.manual_seed(1)
    app = Application()
    x = app.input("x", torch.zeros(2, 7))
    first = app.state("first", torch.full((2, 7), 0.5))
    second = app.state("second", torch.full((2, 7), -1.0))
    left = app.add("left", Projection(), x, first)
    right = app.add("right", Shares().eval(), left, second)
    assert not isinstance(right, tuple)
    app.feed(second, right)
    app.feed(first, right)
    app.returns(right, first, x, right)
    return app


def board(name: str, *kinds: str) -> Device:
    """An emulated device that has rates for these kinds of operators alone."""
    rates = {kind: f"1 {'GMAC' if kind in ('conv', 'linear') else 'GB'}/s" for kind in kinds}
    table = {
        "title": "a sample",
        "dtype": "float32",
        "rates": {"float32": rates},
        "overheads": {"operator": "10 us", "invocation": "0 us"},
    }
    return make_device(name, "profile", {"table": table})


def joined_boards(*devices: Device) -> Machine:
    """Devices with links both ways, those from the first exclusive."""
    host = devices[0].name
    pairs = ((a.name, b.name) for a in devices for b in devices if a is not b)
    return connect(devices, [Link(a, b, 1e-5, 1e9, exclusive=a == host) for a, b in pairs], host)


def two_boards() -> Machine:
    return joined_boards(
        board("eyes", "conv", "reduce", "softmax"), board("words", "linear", "pointwise", "move")
    )


def cores() -> Machine:
    """Two devices of a core each, where there are so many."""
    made = [make_device(f"core{n}", "cpu", {"cores": [core]}) for n, core in enumerate(CORES[:2])]
    return connect(made, (), made[0].name)


@pytest.fixture
def cache(tmp_path: Path) -> CostCache:
    return CostCache(tmp_path / "costs.sqlite")


def devices_of(made: PlannedModel) -> set[str]:
    """Those that compute anything; the plan is sound, and the same when it is read back."""
    assert from_json(to_json(made.plan)) == made.plan
    return {each.device for each in made.plan.operators if each.layers}


def agree(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("machine", "goal", "granularity"),
    [
        (two_boards, "latency", "layer"),
        (two_boards, "throughput", "layer"),
        (cores, "latency", "model"),
        (cores, "throughput", "block"),
    ],
)
def test_states_are_carried(
    machine: Callable[[], Machine], goal: Any, granularity: Any, cache: CostCache
) -> None:
    app, there = captioner(), machine()
    wanted = [app(frame) for frame in FRAMES]
    with plan(app, devices=there, goal=goal, granularity=granularity, cache=cache) as made:
        assert made.plan.replicas == ({},)  # copies would each have a state of their own
        assert any(each.carries for each in made.plan.operators)
        used = devices_of(made)
        assert used == {"eyes", "words"} if machine is two_boards else used <= {"core0", "core1"}
        agree(made(FRAMES[0]), wanted[0])
        agree(list(made.map(FRAMES[1:4])), wanted[1:4])
        agree(list(made.map(FRAMES[4:])), wanted[4:])
        made.reset()
        agree(list(made.map(FRAMES)), wanted)


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_a_state_that_crosses_devices(goal: Any, cache: CostCache) -> None:
    app = tangled()
    inputs = [images(2, 7, seed=seed) for seed in range(4)]
    wanted = [app(each) for each in inputs]
    with plan(app, devices=two_boards(), goal=goal, granularity="layer", cache=cache) as made:
        assert devices_of(made) == {"eyes", "words"}
        carried = {name for each in made.plan.operators for name in each.carries}
        assert "words" in {each.target for each in made.plan.transfers if each.operator in carried}
        found = list(made.map(inputs))
        agree(found, wanted)
        for results in found:  # the caller may write into what it got
            for value in results:
                value.zero_()
        given = images(2, 7, seed=9)
        agree(made(given.clone()), app(given))


def test_results_are_those_of_the_same_kernels_bit_for_bit(cache: CostCache) -> None:
    app = captioner()
    whole, state, wanted = compile_graph(joined(app).graph), torch.ones(2, 7), list[Tensor]()
    for frame in FRAMES:
        scores, state = whole(frame, state)
        wanted.append(scores)
    everything = board("all", "conv", "reduce", "linear", "pointwise", "move", "other")
    with plan(app, devices=connect([everything], (), "all"), granularity="model", cache=cache) as made:
        assert [each.implementation for each in made.plan.operators if each.layers] == ["emulated"]
        for found, each in zip(made.map(FRAMES), wanted, strict=True):
            assert torch.equal(found, each)


def test_what_is_refused(cache: CostCache) -> None:
    app, alone = captioner(), connect([board("eyes", "conv", "reduce")], (), "eyes")
    with pytest.raises(DeviceError, match=r"no device runs operator 'decoder[.]cell.*add one that does"):
        plan(app, devices=alone, cache=cache)
    with pytest.raises(ModelError, match="no operators"):
        plan(Application(), devices=alone, cache=cache)
    with plan(app, devices=two_boards(), granularity="layer", cache=cache) as made:
        with pytest.raises(InputError, match="1 inputs are needed, frame; 2 were given"):
            made(FRAMES[0], FRAMES[1])
        other = tangled()
        with pytest.raises(PlanError, match="another graph"):
            PlannedModel(made.plan, joined(other), two_boards())


def test_what_a_state_is_fed_by_is_part_of_the_model(cache: CostCache) -> None:
    def fed(swapped: bool) -> Application:
        app = Application()
        x = app.input("x", torch.zeros(2, 7))
        states = [app.state(name, torch.zeros(2, 7)) for name in ("first", "second")]
        torch.manual_seed(0)
        made = [app.add(f"add {at}", Projection(), x, state) for at, state in enumerate(states)]
        for state, source in zip(states, reversed(made) if swapped else made, strict=True):
            assert not isinstance(source, tuple)
            app.feed(state, source)
        return app

    machine = joined_boards(board("all", "linear", "pointwise"))
    with plan(fed(swapped=False), devices=machine, cache=cache) as made:
        PlannedModel(made.plan, joined(fed(swapped=False)), machine).close()
        with pytest.raises(PlanError, match="another graph"):
            PlannedModel(made.plan, joined(fed(swapped=True)), machine)


class Abacus(DeviceKind):
    """Says what linear layers cost, that it has no softmax, and nothing of all else; counts what it runs."""

    name = "abacus"
    ran = 0

    def make(self, name: str, settings: Section) -> Device:
        return Device(name, self.name, {"beads": settings.whole("beads")})

    def estimate(self, device: Device, operator: Operator, dtype: str | None = None) -> Estimate | None:
        if operator.kind == "softmax":
            return Estimate(float("inf"), 0, 0, 0, reason="its beads are too few")
        return Estimate(1e-7, 0, 0, 0) if operator.kind == "linear" else None

    def runner(self, device: Device, operator: Runner, example: tuple[Any, ...]) -> Runner:
        operator(*example)
        if device.settings["beads"] < 2:
            raise ValueError("no beads")

        def run(*inputs: Tensor) -> Any:
            Abacus.ran += 1
            return operator(*inputs)

        return run


class Counted(nn.Module):
    """A pooling, a linear layer and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.nn.functional.max_pool2d(x, 8).flatten(1)).softmax(1)


def with_abacus(beads: int) -> Machine:
    """A slow board beside an abacus."""
    slow = {
        "title": "slow",
        "dtype": "float32",
        "rates": {"float32": {"linear": "1 MMAC/s", "other": "1 MB/s"}},
        "overheads": {"operator": "50 ms", "invocation": "0 us"},
    }
    return joined_boards(
        make_device("slow", "profile", {"table": slow}), make_device("toy", "abacus", {"beads": beads})
    )


def test_an_outside_kind_runs_what_it_is_given(cache: CostCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    register_kind(Abacus())
    torch.manual_seed(0)
    model = Counted()
    found: list[Mapping[str, str]] = []
    for _ in range(2):
        before = Abacus.ran
        with plan(model, (FRAMES[0],), devices=with_abacus(3), granularity="layer", cache=cache) as made:
            measured = Abacus.ran - before
            placed = [each for each in made.plan.operators if each.layers]
            found.append({each.device: each.implementation for each in placed})
            assert made.costs is not None
            told = {each.origin for name in made.costs.costs if (each := made.costs.best(name, "toy"))}
            assert told == {"measured", "table"}
            agree(made(FRAMES[1]), model(FRAMES[1]))
            assert Abacus.ran - before > measured
    assert found == [{"toy": "abacus", "slow": "emulated"}] * 2
    assert measured == 0, "what was measured is kept"
    with pytest.raises(DeviceError, match=r"device 'toy', of kind 'abacus', cannot run layer .*no beads"):
        plan(model, (FRAMES[0],), devices=with_abacus(1), granularity="layer", cache=cache)


@pytest.mark.skipif(len(CORES) < 2, reason="a stream over cores needs two of them")
def test_a_stream_on_two_cores_gets_the_best_of_its_rivals(cache: CostCache) -> None:
    cpu = connect([make_device("cpu", "cpu", {"cores": CORES[:2]})], (), "cpu")
    app = captioner()
    wanted = [app(frame) for frame in FRAMES]
    with plan(app, devices=cpu, goal="throughput", granularity="block", cache=cache) as made:
        others = made.plan.alternatives
        assert others is not None
        assert len(others) == 2, "of one core, all cores and a pipeline; a state has no copies"
        assert made.plan.period <= min(others.values())
        agree(list(made.map(FRAMES)), wanted)
    model = Counted()
    with plan(model, (FRAMES[0],), devices=cpu, goal="throughput", cache=cache) as made:
        others = made.plan.alternatives
        assert others is not None
        assert {*others} < {ONE_CORE, ALL_CORES, PIPELINE, COPIES}
        assert len(others) == 3
        assert made.plan.period <= min(others.values())
        for found, frame in zip(made.map(FRAMES), FRAMES, strict=True):
            agree(found, model(frame))


class Residual(nn.Module):
    """Blocks of two convolutions, and what they read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)) for _ in range(2)
        )
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.first, self.second, strict=True):
            x = (second(first(x).relu()) + x).relu()
        return x


def test_layers_are_placed_as_well_as_blocks(cache: CostCache) -> None:
    """Though the solver starts a device twice for a block's two layers that read what another one gave."""
    table = {
        "dtype": "float32",
        "rates": {"float32": {"conv": "1 GMAC/s", "other": "1 GB/s"}},
        "overheads": {"invocation": "0.5 ms"},
        "weights": {"cache": "10 kB", "streamed": True},
        "link": {"latency": "0 us", "bandwidth": "4 MB/s"},
    }
    devices, host = with_host([make_device(name, "profile", {"table": table}) for name in "ab"])
    machine, model, x = connect(devices, [], host), Residual(), images(1, 8, 8, 8)
    layers, blocks = (
        find_plan(from_torch(model, (x,)), machine, (x,), granularity=granularity, cache=cache).plan
        for granularity in get_args(Granularity)[:2]
    )
    assert faults(layers) == []
    assert layers.makespan == blocks.makespan == pytest.approx(3.343e-3, rel=1e-3)
    assert layers.alternatives is not None
    assert layers.alternatives["layer by layer"] == pytest.approx(3.763e-3, rel=1e-3)
    assert layers.bound <= layers.makespan


def wrong_calls(given: Tensor) -> dict[str, tuple[Any, str]]:
    """What a model of one image is not called with, and what it says."""
    return {
        "shape": (given[:1], r"has shape \(1, 3, 8, 8\); the model was compiled for \(2, 3, 8, 8\)"),
        "dtype": (given.double(), "has dtype torch.float64; compiled models take torch.float32"),
        "count": ((given, given), "2 were given"),
        "none": ((), "0 were given"),
        "a number": (3, "is a int; give a torch.Tensor"),
        "an array": (given.numpy(), "give a torch.Tensor: torch.from_numpy"),
        "a subclass": (given.to_sparse(), "is a sparse_coo tensor"),
    }


@large(("case", "goal"), product(wrong_calls(FRAMES[0]), ["latency", "throughput"]), sample=7)
def test_wrong_inputs_are_refused_before_they_are_let_in(case: str, goal: Any, cache: CostCache) -> None:
    wrong, message = wrong_calls(FRAMES[0])[case]
    app = captioner()
    wanted = [app(frame) for frame in FRAMES[:2]]
    with plan(app, devices=two_boards(), goal=goal, cache=cache) as made:
        agree(made(FRAMES[0]), wanted[0])
        with pytest.raises(InputError, match=message) as raised:
            made(*wrong) if isinstance(wrong, tuple) else made(wrong)
        assert raised.value.input is None
        timeline = made.timeline()
        assert timeline is not None
        assert len(timeline.admitted) == 1
        made.reset()
        stream = made.map([FRAMES[0], FRAMES[1], wrong, FRAMES[2]])
        agree([next(stream), next(stream)], wanted)
        with pytest.raises(InputError, match=f"input 2: .*{message}") as raised:
            next(stream)
        assert raised.value.input == 2
        agree(made(FRAMES[0]), wanted[0])  # the stream's state is forgotten
        with pytest.raises(InputError, match="a int is no stream"):
            made.map(3)  # type: ignore[arg-type]


def test_inputs_by_name(cache: CostCache) -> None:
    model = Counted()
    with plan(model, (FRAMES[0],), devices=with_boards(), granularity="layer", cache=cache) as made:
        agree(made(x=FRAMES[1]), model(FRAMES[1]))
        with pytest.raises(InputError, match=r"has shape \(1, 3, 8, 8\)"):
            made(x=FRAMES[1][:1])
        with pytest.raises(InputError, match="there is no 'y' among its inputs"):
            made(y=FRAMES[1])


def with_boards() -> Machine:
    return joined_boards(board("all", "pool", "linear", "softmax", "move", "pointwise", "other"))
