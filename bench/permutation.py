"""Output-channel permutation: the layers that choose it, timed with and without.

    OMP_NUM_THREADS=1 python -m bench.permutation [--json FILE]

Three kinds of weights at several sparsities: a trained network's (the digit network of the tests, its
linear layers too), random ones (ResNet-18 of pytorchcv), and random vectors of 4 output channels whose
channels are shuffled, as those of a network are that was pruned in another order. The kernel with the
permutation runs in turn with what is chosen where none is allowed. Layers that do not choose it are the
same with and without: they are counted, not timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen import pruning
from sparsegen.compare.layer import alone, kernels
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.timing import time_in_turn
from sparsegen.compiler import compile_graph, plan_graph
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import from_torch, load_model
from sparsegen.graph import Conv2d, Layer, LayerGraph, Linear
from sparsegen.kernels.panels import PanelChoice, choose
from sparsegen.kernels.problems import panel_problem
from sparsegen.target import parse_target
from tests.digits import digit_network

BATCH, SAMPLES, SPARSITIES = 16, 31, (0.5, 0.8, 0.88, 0.95)


@dataclass(frozen=True)
class Row:
    """One layer that chose the permutation; times are medians in milliseconds, `gain` is their ratio."""

    weights: str
    layer: str
    shape: tuple[int, ...]
    density: float
    estimated_gain: float
    without_ms: float
    permuted_ms: float

    @property
    def gain(self) -> float:
        return self.without_ms / self.permuted_ms


def networks() -> Iterator[tuple[str, LayerGraph]]:
    """The layer graphs, by what their weights are."""
    for sparsity in SPARSITIES:
        network = digit_network()
        pruning.magnitude(network, sparsity=sparsity, linear=True)
        images = torch.zeros(BATCH, 1, 28, 28)
        yield f"trained, {sparsity:.0%}", from_torch(pruning.finalize(network), (images,))
    for sparsity in SPARSITIES:
        model, inputs = load_model("resnet18", batch=BATCH)
        pruning.magnitude(model, sparsity=sparsity)
        yield f"random, {sparsity:.0%}", from_torch(pruning.finalize(model), inputs)
    for sparsity in SPARSITIES:
        model, inputs = load_model("resnet18", batch=BATCH)
        pruning.vector(model, sparsity=sparsity)
        graph = from_torch(pruning.finalize(model), inputs)
        layers = [shuffled(layer) if isinstance(layer.core, Conv2d) else layer for layer in graph.layers]
        yield f"shuffled vectors, {sparsity:.0%}", replace(graph, layers=layers)


def shuffled(layer: Layer) -> Layer:
    """The convolution with its output channels in another order."""
    assert isinstance(layer.core, Conv2d)
    order = np.random.default_rng(0).permutation(len(layer.core.weight))
    return replace(layer, core=replace(layer.core, weight=layer.core.weight[order]))


def choices(graph: LayerGraph) -> Iterator[tuple[Layer, LayerGraph, PanelChoice, PanelChoice]]:
    """Every layer with zeros that a panel kernel serves, alone, and its choices with and without permutation.

    Each shape once.
    """
    shapes, seen = graph.shapes(), set()
    for layer in graph.layers:
        if not isinstance(layer.core, Conv2d | Linear) or np.all(layer.core.weight):
            continue
        single = alone(layer, shapes[layer.inputs[0]])
        key = (layer.core.weight.shape, layer.shape)
        plan = plan_graph(single, threads=1, target=parse_target())
        problem = panel_problem(plan.layer(layer.name), plan.context)
        if problem is not None and key not in seen:
            seen.add(key)
            with_and_without = (choose(problem, parse_target(), threads=1, permute=p) for p in (True, False))
            yield layer, single, *with_and_without


def measure(
    weights: str, layer: Layer, single: LayerGraph, permuted: PanelChoice, without: PanelChoice
) -> Row:
    """Both kernels of a layer, timed in turn."""
    assert isinstance(layer.core, Conv2d | Linear)
    x = torch.randn(next(iter(single.inputs.values())), generator=torch.Generator().manual_seed(0))
    compiled = {
        name: compile_graph(single, threads=1, schedules={layer.name: choice.schedule})
        for name, choice in (("without", without), ("permuted", permuted))
    }
    results = [model(x) for model in compiled.values()]
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)
    times = time_in_turn({name: kernels(model) for name, model in compiled.items()}, samples=SAMPLES)
    return Row(
        weights=weights,
        layer=layer.name,
        shape=layer.core.weight.shape,
        density=float(np.count_nonzero(layer.core.weight)) / layer.core.weight.size,
        estimated_gain=without.cycles / permuted.cycles,
        without_ms=times["without"].median_ms,
        permuted_ms=times["permuted"].median_ms,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    path = parser.parse_args().json
    if path is not None:
        check_writable("--json", path)
    torch.set_num_threads(1)
    rows, considered = list[Row](), dict[str, int]()
    for weights, graph in networks():
        found = list(choices(graph))
        considered[weights] = len(found)
        rows += [measure(weights, *each) for each in found if each[2].schedule.permuted]
    table = Table("weights", "layer", "shape", "kept", "estimated gain", "without ms", "permuted ms", "gain")
    for row in rows:
        shape = "x".join(map(str, row.shape))
        numbers = (row.without_ms, row.permuted_ms, row.gain)
        table.add_row(
            row.weights, row.layer, shape, f"{row.density:.0%}", f"{row.estimated_gain:.2f}",
            *(f"{number:.3f}" for number in numbers),
        )  # fmt: skip
    console = Console()
    console.print(table)
    gains = [row.gain for row in rows]
    if gains:
        mean = statistics.geometric_mean(gains)
        console.print(
            f"chosen for {len(rows)} of {sum(considered.values())} layers: {mean:.2f}x in geometric mean, "
            f"{min(gains):.2f}x at least, {max(gains):.2f}x at most"
        )
    if path is not None:
        machine = asdict(describe_machine(parse_target(), 1))
        content = {"machine": machine, "batch": BATCH, "threads": 1, "samples": SAMPLES}
        layers = [asdict(row) | {"gain": row.gain} for row in rows]
        write_file(path, json.dumps({**content, "considered": considered, "layers": layers}, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
