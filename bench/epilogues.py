"""What activations cost as epilogues, exact and piecewise linear: an element of each, and whole networks.

    python -m bench.epilogues [--quick] [--samples 101] [--json FILE]

An element: the same layer with each function in turn, on values that lie in the second-level cache, on one
thread; relu tells what the layer takes without. Approximations are timed whether the compiler, which counts
instructions, expects them to pay or not. torch's is its own operator on as many values. Networks: exact and
approximated by the compiler's choice, on one thread, and how often the largest output is the same.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

import sparsegen
from bench.command import run
from sparsegen.compare.machine import describe_machine
from sparsegen.compiler import compile_graph
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import load_model
from sparsegen.graph import Conv2d, Core, Identity, Layer, LayerGraph, Step
from sparsegen.kernels.piecewise import operations
from sparsegen.noise import warn_of_noise
from sparsegen.rewriting.approximate_steps import approximate_steps, fit_step
from sparsegen.target import parse_target

ERRORS = (1e-3, 1e-2)
FUNCTIONS: dict[str, tuple[Step, Callable[[Tensor], Tensor]]] = {
    "gelu": (Step("gelu"), F.gelu),
    "silu": (Step("silu"), F.silu),
    "tanh": (Step("tanh"), torch.tanh),
    "softplus": (Step("softplus", parameters=(1.0, 20.0)), F.softplus),
    "sigmoid": (Step("sigmoid"), torch.sigmoid),
}
NETWORKS: dict[str, tuple[int, ...]] = {"efficientnet_b0": (3, 224, 224), "bench.models:bert": (128, 768)}
LAYERS: dict[str, tuple[Core, int]] = {
    "pointwise": (Identity(), 32),
    "1x1 convolution": (Conv2d(np.full((32, 4, 1, 1), 0.25, np.float32), None), 4),
}
"""The layers that the functions are epilogues of, and the channels that they read: they write 32."""
_BATCH, _CHANNELS, _SIZE = 16, 32, 8

Watch = Callable[[], float]
"""Runs something once, and tells the seconds that it took."""


@dataclass(frozen=True)
class Element:
    """Nanoseconds an element of a function in a layer, by the way it is computed; a list of samples each.

    knots, operations, pays: of the approximations, by their error.
    """

    function: str
    layer: str
    nanoseconds: Mapping[str, list[float]]
    knots: Mapping[str, int] = field(default_factory=dict)
    operations: Mapping[str, int] = field(default_factory=dict)
    pays: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """Seconds of a network's call, exact and by the error allowed; how its results differ from the exact.

    agreement: share of largest outputs that are the same; difference: the greatest of all outputs.
    approximated: how many steps of each function are.
    """

    name: str
    seconds: Mapping[str, list[float]]
    agreement: Mapping[str, float]
    difference: Mapping[str, float]
    approximated: Mapping[str, dict[str, int]]


def measure_element(function: str, layer: str, samples: int) -> Element:
    """Time a function in a layer, exact, approximated, in torch, and the layer with relu in its place."""
    step, own = FUNCTIONS[function]
    watches = {"relu": _layer_watch(layer, Step("relu")), "exact": _layer_watch(layer, step)}
    knots, counted, pays = {}, {}, {}
    for error in ERRORS:
        fitted, told = fit_step(step.op, step.parameters, error)
        replaced = Step("piecewise", parameters=fitted.parameters)
        watches[f"{error:g}"] = _layer_watch(layer, replaced)
        knots[f"{error:g}"], counted[f"{error:g}"] = told.knots, operations(fitted)
        (chosen,) = approximate_steps(_graph(layer, step), error).layers
        pays[f"{error:g}"] = chosen.epilogue[0].op == "piecewise"
    values = torch.randn(_BATCH, _CHANNELS, _SIZE, _SIZE) * 2
    watches["torch"] = _watch(lambda: own(values))
    elements = values.numel()
    found = {
        name: [seconds / elements * 1e9 for seconds in taken]
        for name, taken in _in_turn(watches, samples).items()
    }
    return Element(function, layer, found, knots, counted, pays)


def _graph(layer: str, step: Step) -> LayerGraph:
    core, channels = LAYERS[layer]
    shape = (_BATCH, _CHANNELS, _SIZE, _SIZE)
    made = Layer("result", core, ("x",), shape, (step,))
    return LayerGraph({"x": (_BATCH, channels, _SIZE, _SIZE)}, [made], ("result",))


def _layer_watch(layer: str, step: Step) -> Watch:
    """Of the layer's kernel alone, without what packs its input and unpacks its result."""
    graph = _graph(layer, step)
    compiled = compile_graph(graph, threads=1)
    x = torch.randn(graph.inputs["x"]) * 2

    def watch() -> float:
        return sum(end - begin for name, begin, end in compiled.timeline(x) if name == "result")

    assert watch() > 0, "the layer has no time of its own"
    return watch


def _watch(call: Callable[[], object]) -> Watch:
    def watch() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return watch


def _in_turn(watches: Mapping[str, Watch], samples: int) -> dict[str, list[float]]:
    """Each once a round, in a new order every round, each after a run that is not timed."""
    order, draw = list(watches), random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in watches}
    for _ in range(samples):
        draw.shuffle(order)
        for name in order:
            watches[name]()
            taken[name].append(watches[name]())
    return taken


def measure_network(name: str, samples: int, inputs: int) -> Network:
    """Compile a network exactly and with each error, time calls of one input, and compare many results."""
    torch.manual_seed(0)
    model, example = load_model(name, batch=1, input_shape=NETWORKS[name])
    compiled = {"exact": sparsegen.compile(model, example, threads=1)}
    for error in ERRORS:
        compiled[f"{error:g}"] = sparsegen.compile(model, example, threads=1, approximate=error)
    others = {key: each for key, each in compiled.items() if key != "exact"}
    same, difference = dict.fromkeys(others, 0.0), dict.fromkeys(others, 0.0)
    for _ in range(inputs):
        x = torch.randn_like(example[0])
        expected = compiled["exact"](x)
        for key, each in others.items():
            result = each(x)
            same[key] += float((result.argmax(-1) == expected.argmax(-1)).double().mean()) / inputs
            difference[key] = max(difference[key], float((result - expected).abs().max()))
    calls = {key: _watch(lambda each=each: each(*example)) for key, each in compiled.items()}  # type: ignore[misc]
    return Network(
        name, _in_turn(calls, samples), same, difference, {k: _counts(v) for k, v in others.items()}
    )


def _counts(compiled: sparsegen.CompiledModel) -> dict[str, int]:
    """Steps that are approximated, by their function."""
    told = [each.function for layer in compiled.layers for each in layer.approximated if each.knots]
    return {name: told.count(name) for name in dict.fromkeys(told)}


def main() -> None:
    """Read the arguments, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few samples, to see that it works")
    parser.add_argument("--samples", type=int, default=101)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    samples, calls, inputs = (5, 3, 2) if asked.quick else (asked.samples, max(5, asked.samples // 3), 50)
    noise = warn_of_noise()
    with torch.no_grad():
        torch.set_num_threads(1)
        elements = [measure_element(each, layer, samples) for layer in LAYERS for each in FUNCTIONS]
        networks = [measure_network(name, calls, inputs) for name in NETWORKS]
    console = Console()
    console.print(_elements_table(elements))
    console.print(_networks_table(networks))
    if asked.json is not None:
        machine = asdict(describe_machine(parse_target(), 1))
        found = {"elements": list(map(asdict, elements)), "networks": list(map(asdict, networks))}
        write_file(asked.json, json.dumps({"machine": machine, "noise": noise, **found}, indent=2) + "\n")


def _elements_table(elements: list[Element]) -> Table:
    table = Table(title="nanoseconds an element, median (middle half), one thread")
    for heading in ("layer", "function", "relu", "exact", *(f"{error:g}" for error in ERRORS), "torch"):
        table.add_column(heading, justify="left" if heading in ("layer", "function") else "right")
    for each in elements:
        cells = [_told(each.nanoseconds[name], 3) for name in ("relu", "exact")]
        for key, knots in each.knots.items():
            gain = statistics.median(each.nanoseconds["exact"]) / statistics.median(each.nanoseconds[key])
            expected = "" if each.pays[key] else ", not expected to pay"
            cells.append(f"{_told(each.nanoseconds[key], 3)}\n{gain:.2f}x, {knots} knots{expected}")
        table.add_row(each.layer, each.function, *cells, _told(each.nanoseconds["torch"], 3))
    return table


def _networks_table(networks: list[Network]) -> Table:
    table = Table(title="milliseconds a call, median (middle half), one thread, batch 1")
    for heading in ("network", "error", "time", "gain", "same largest", "largest difference", "approximated"):
        table.add_column(heading, justify="right" if heading in ("time", "gain") else "left")
    for each in networks:
        exact = statistics.median(each.seconds["exact"])
        for key, taken in each.seconds.items():
            cells = [_told([second * 1e3 for second in taken], 2), f"{exact / statistics.median(taken):.3f}x"]
            if key != "exact":
                counts = ", ".join(f"{count} {name}" for name, count in each.approximated[key].items())
                cells += [f"{each.agreement[key]:.1%}", f"{each.difference[key]:.2g}", counts or "none"]
            table.add_row(each.name, key, *cells)
    return table


def _told(values: list[float], digits: int) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    run(main)
