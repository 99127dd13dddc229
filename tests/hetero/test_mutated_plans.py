"""Plans that somebody has changed: refused, or right results; never an error of Python's, or wrong results.

Kernels are torch's here, so that hundreds of plans run: what is tested is who gets what, and who says no.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from sparsegen.compiler import default_plan
from sparsegen.devices import make_device
from sparsegen.errors import PlanError, SparsegenError
from sparsegen.graph import LayerGraph
from sparsegen.hetero import planned
from sparsegen.hetero.api import plan
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.operators.application_graph import CarriedGraph, joined
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.placing import Subject
from sparsegen.hetero.plans.plan_json import load_plan, to_json
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.stages.staged_plan import staged_plan
from sparsegen.torch_graph.graph import TorchGraph
from tests.frontend.checking import images
from tests.hetero.test_planned import (
    FRAMES,
    Counted,
    board,
    captioner,
    joined_boards,
    tangled,
    two_boards,
)
from tests.hetero.test_staging import TEAM, X, staged_cell
from tests.sampling import SOAK

SHARE = 150
"""Changed plans of each kind; a soak changes each field of each, too, to anything odd."""
CORES = sorted(os.sched_getaffinity(0))
ODD = (
    *(None, True, -1, 0, 1, 2, 7, 1 << 70, 1.5, -0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "\ud800", "ours", "torch", "emulated", "mixed", "passed on", "cpu", "cuda", "measured"),
    *([], {}, [[0]], [None], {"cores": [[0]]}, {"a": 1}, "stages", "copies", "sequential"),
)


class Case(NamedTuple):
    """A sound plan as JSON, its model's graph, inputs, and what the model gives for them."""

    written: dict[str, Any]
    graph: LayerGraph | CarriedGraph
    inputs: list[Any]
    wanted: list[Any]


def applied(app: Any, inputs: list[Tensor], machine: Any, goal: Any, cache: CostCache) -> Case:
    wanted = [app(each) for each in inputs]
    with plan(app, devices=machine, goal=goal, granularity="layer", cache=cache) as made:
        return Case(to_json(made.plan), joined(app), list(inputs), wanted)


def latency(cache: CostCache) -> Case:
    return applied(captioner(), FRAMES[:3], two_boards(), "latency", cache)


def pipeline(cache: CostCache) -> Case:
    found = applied(captioner(), FRAMES[:3], two_boards(), "throughput", cache)
    assert found.written["form"] == "pipelined"
    return found


def states(cache: CostCache) -> Case:
    return applied(tangled(), [images(2, 7, seed=n) for n in range(3)], two_boards(), "throughput", cache)


def alone(goal: Any, cache: CostCache) -> Case:
    """A model on one board."""
    torch.manual_seed(0)
    model = Counted()
    everything = joined_boards(board("all", *("pool", "linear", "softmax", "move", "pointwise", "other")))
    wanted = [model(each).detach() for each in FRAMES[:3]]
    with plan(model, (FRAMES[0],), devices=everything, goal=goal, cache=cache) as made:
        return Case(json.loads(json.dumps(to_json(made.plan))), made._whole, FRAMES[:3], wanted)


def copies(cache: CostCache) -> Case:
    """On another board, too."""
    found = alone("throughput", cache)
    twin = {**found.written["devices"][0], "name": "twin"}
    found.written["devices"].append(twin)
    found.written.update(form="copies", replicas=[{}, {"all": "twin"}])
    return found


def mixed(cache: CostCache) -> Case:
    """On a core, its linear layer left to torch."""
    found = alone("latency", cache)
    found.written["devices"][0] |= {"kind": "cpu", "settings": {"cores": CORES[:1]}}
    for each in found.written["operators"]:
        if each["layers"]:
            each |= {"implementation": "mixed", "by_torch": [n for n in each["layers"] if "linear" in n]}
            assert each["by_torch"]
    return found


def stages(cache: CostCache) -> Case:
    graph, staged = staged_cell()
    device = make_device("cpu", "cpu", {"cores": CORES[:TEAM]})
    made = staged_plan(staged, device, Subject("cell", model_fingerprint(graph), ""))
    return Case(to_json(made), graph, [X], [TorchGraph(graph)(X)])


KINDS: dict[str, Callable[[CostCache], Case]] = {
    each.__name__: each for each in (latency, pipeline, states, copies, mixed, stages)
}


def places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a plan but those inside a device's table."""
    if path:
        yield path
    if "table" in path:
        return
    keys = found if isinstance(found, dict) else range(len(found)) if isinstance(found, list) else ()
    for key in keys:
        yield from places(found[key], (*path, key))


def inside(found: Any, path: tuple[Any, ...]) -> Any:
    return functools.reduce(lambda part, key: part[key], path, found)


def changed(written: Mapping[str, Any], chance: random.Random) -> tuple[dict[str, Any], str]:
    """The plan with one thing changed, and what that was."""
    found: dict[str, Any] = json.loads(json.dumps(written))
    everywhere = [*places(found)]
    path = chance.choice(everywhere)
    holder, key = inside(found, path[:-1]), path[-1]
    like = [each for each in everywhere if each[-1] == key and len(each) == len(path)]
    other = chance.choice(like if len(like) > 1 else everywhere)
    way = chance.choice(["drop", "odd", "swap", "swap", "copy", "copy", "repeat", "turn"])
    if way == "drop":
        del holder[key]
    elif way == "odd":
        holder[key] = copy.deepcopy(chance.choice(ODD))
    elif way == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif way == "turn" and isinstance(holder[key], list):
        holder[key].reverse()
    elif other[: len(path)] != path and path[: len(other)] != other:
        there, mine = inside(found, other), copy.deepcopy(holder[key])
        holder[key] = copy.deepcopy(there)
        if way == "swap":
            inside(found, other[:-1])[other[-1]] = mine
    return found, f"{way} {path} {other}"


def each_odd(written: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The plan with each thing left out, and with each odd value in its place; and what that was."""
    for path in places(written):
        for odd in (*ODD, None):
            found: dict[str, Any] = json.loads(json.dumps(written))
            holder, key = inside(found, path[:-1]), path[-1]
            holder[key] = copy.deepcopy(odd)
            yield found, f"{odd!r} at {path}"
        del holder[key]
        yield found, f"nothing at {path}"


def computed(case: Case, found: Any, path: Path) -> str:
    """What becomes of a plan: "right", or the name of the error that refuses it."""
    path.write_text(json.dumps(found))
    try:
        read = load_plan(path)
        simulate(read, len(case.inputs))
        with PlannedModel(read, case.graph, limit_s=5.0) as model:
            given = [*model.map(case.inputs)]
    except SparsegenError as error:
        return type(error).__name__
    torch.testing.assert_close(given, case.wanted, rtol=1e-4, atol=1e-5)
    return "right"


@pytest.fixture
def torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch computes what our kernels would."""
    made = functools.cache(default_plan)
    monkeypatch.setattr(planned, "compile_graph", lambda part, threads=1: TorchGraph(part))
    monkeypatch.setattr(planned, "default_plan", lambda graph, threads: Staging(graph, made(graph, threads)))
    monkeypatch.setattr(planned, "compile_plan", lambda found: found)


class Staging(NamedTuple):
    """A plan of kernels, whose order of stages is checked, and which torch computes."""

    graph: LayerGraph
    plan: Any

    def staged(self, stages: Any) -> TorchGraph:
        self.plan.staged(stages)
        return TorchGraph(self.graph)


@pytest.mark.filterwarnings("ignore:2 threads on")
@pytest.mark.usefixtures("torchs", "no_thread_left")
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_plan_is_refused_or_right(kind: str, tmp_path: Path) -> None:
    if kind == "stages" and len(CORES) < TEAM:
        pytest.skip("stages need two cores")
    case = KINDS[kind](CostCache(tmp_path / "costs.sqlite"))
    assert computed(case, case.written, tmp_path / "plan.json") == "right"
    chance, outcomes = random.Random(kind), Counter[str]()
    everything = each_odd(case.written) if settings.get_current_profile_name() == SOAK else ()
    for found, what in itertools.chain((changed(case.written, chance) for _ in range(SHARE)), everything):
        try:
            outcomes[computed(case, found, tmp_path / "plan.json")] += 1
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert outcomes["PlanError"] > SHARE // 4, outcomes
    assert outcomes["right"] > 0, outcomes
    assert outcomes.keys() <= {"right", "PlanError", "DeviceError"}, outcomes


def edited(case: Case, change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    found = copy.deepcopy(case.written)
    change(found)
    return found


def first_with_layers(found: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in found["operators"] if each["layers"])


def in_two(found: dict[str, Any]) -> None:
    one, other, *_ = (each for each in found["operators"] if each["layers"])
    other["layers"] = [*other["layers"], one["layers"][0]]


def without_result(found: dict[str, Any]) -> None:
    last = found["operators"].pop()
    found["transfers"] = [each for each in found["transfers"] if each["operator"] not in last["reads"]]
    found.update(makespan=found["operators"][-1]["end"], bound=0.0, optimal=False)
    found["period"] = found["makespan"]


def without_inputs(found: dict[str, Any]) -> None:
    """What read the input alone reads it no more."""
    (reader,) = (each for each in found["operators"] if each["reads"] == ["frame"])
    found["transfers"] = [each for each in found["transfers"] if each["operator"] != "frame"]
    reader["reads"] = []


def with_measured(*names: str) -> Callable[[dict[str, Any]], None]:
    """As if operators of these names, and all but the first one, had been measured."""

    def change(found: dict[str, Any]) -> None:
        seconds = dict.fromkeys([*names, *(each["name"] for each in found["operators"][1:])], 1.0)
        found["measured"] = {"inputs": 1, "makespan": 1.0, "period": 1.0, "operators": seconds}

    return change


READING: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "implementation": (
        lambda found: first_with_layers(found).update(implementation="magic"),
        "is computed by 'magic'; on words, a profile, there are passed on, emulated",
    ),
    "passed on": (
        lambda found: first_with_layers(found).update(implementation="passed on"),
        "is passed on, and has layers to compute",
    ),
    "origin": (
        lambda found: first_with_layers(found).update(origin="guess"),
        'origin is "guess", where one of measured, predicted, roofline, table is expected',
    ),
    "kind": (
        lambda found: (
            found["devices"][0].update(kind="gpu"),
            [
                each.update(implementation="gpu")
                for each in found["operators"]
                if each["device"] == "eyes" and each["layers"]
            ],
        ),
        "device 'eyes': there is no kind 'gpu' of device: there are cpu, cuda, profile",
    ),
    "settings": (
        lambda found: found["devices"][0].update(settings={}),
        "device 'eyes' has no table",
    ),
    "threads": (
        lambda found: first_with_layers(found).update(threads=2),
        "has 2 threads, and words takes at most 1",
    ),
    "no layers": (
        lambda found: first_with_layers(found).update(layers=[]),
        "computes, by emulated, and has no layers to compute",
    ),
    "a layer twice in one": (
        lambda found: first_with_layers(found)["layers"].append(first_with_layers(found)["layers"][0]),
        "is there 2 times, in operator",
    ),
    "a layer without a name": (
        lambda found: first_with_layers(found)["layers"].append(""),
        "has a layer with an empty name",
    ),
    "seconds of an input": (
        lambda found: found["operators"][0].update(seconds=1.0),
        "operator frame is passed on, and takes 1 s",
    ),
    "no result": (without_result, "computes something: the result has to come there"),
    "no inputs": (without_inputs, "computes, and reads neither an input nor another operator"),
    "measured strangers": (with_measured("frame", "conv9"), "'conv9' was measured, and is no operator"),
    "not measured": (with_measured(), "operator frame was not measured, as others were"),
    "a layer twice": (in_two, "is there 2 times, in operator decoder"),
    "by torch": (
        lambda found: first_with_layers(found).update(by_torch=["x"]),
        "leaves layers to torch, and is computed by emulated",
    ),
    "a name": (
        lambda found: first_with_layers(found).update(name="\ud800"),
        r'name is "\ud800", where text in Unicode, not half a surrogate pair, is expected',
    ),
    "a name of an alternative": (
        lambda found: found.update(alternatives={"\ud800": 1.0}),
        r'a name in alternatives is "\ud800"',
    ),
    "bytes": (
        lambda found: first_with_layers(found).update(bytes=1 << 70),
        "where a whole number below 2^63 is expected",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A plan of two boards, for tests to change copies of."""
    return latency(CostCache(tmp_path_factory.mktemp("sound") / "costs.sqlite"))


@pytest.mark.parametrize("case", READING)
def test_what_reading_refuses(case: str, sound: Case, tmp_path: Path) -> None:
    change, message = READING[case]
    found = edited(sound, change)
    (tmp_path / "plan.json").write_text(json.dumps(found))
    with pytest.raises(PlanError) as raised:
        load_plan(tmp_path / "plan.json")
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))


def without_a_read(found: dict[str, Any]) -> None:
    """The decoder no longer reads the encoder, nor does anything bring it its result."""
    *_, decoder, _ = found["operators"]
    gone = decoder["reads"].pop()
    found["transfers"] = [each for each in found["transfers"] if each["operator"] != gone]


OF_MODEL: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a missing layer": (
        lambda found: first_with_layers(found)["layers"].pop(),
        "of the model is in no operator",
    ),
    "a strange layer": (
        lambda found: first_with_layers(found)["layers"].append("conv9"),
        "layer 'conv9' is not the model's",
    ),
    "no read": (without_a_read, "which nothing that it reads gives"),
}


@pytest.mark.usefixtures("torchs")
@pytest.mark.parametrize("case", OF_MODEL)
def test_what_the_model_refuses(case: str, sound: Case, tmp_path: Path) -> None:
    change, message = OF_MODEL[case]
    (tmp_path / "plan.json").write_text(json.dumps(edited(sound, change)))
    with pytest.raises(PlanError, match="the plan is not of this model") as raised:
        PlannedModel(load_plan(tmp_path / "plan.json"), sound.graph)
    assert message in str(raised.value)


@pytest.mark.usefixtures("torchs", "no_thread_left")
def test_a_plan_runs_on_the_devices_that_it_names_or_on_their_machine(sound: Case, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(sound.written))
    read = load_plan(tmp_path / "plan.json")
    for machine in (None, two_boards()):
        with PlannedModel(read, sound.graph, machine) as model:
            torch.testing.assert_close([*model.map(sound.inputs)], sound.wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(PlanError, match="the plan has a device 'words'; the machine has eyes: make a plan"):
        PlannedModel(read, sound.graph, joined_boards(two_boards().devices[0]))
    others = joined_boards(two_boards().devices[0], board("words", "linear", "other"))
    with pytest.raises(PlanError, match="device 'words' is a profile of other settings"):
        PlannedModel(read, sound.graph, others)
