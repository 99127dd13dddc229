"""Zeros of trained networks: filters that they empty, the kernel that wins, whether split layers would pay.

    OMP_NUM_THREADS=1 python -m bench.trained_layers [--sparsities 0.5 0.88 0.9 0.95] [--batch 16]
        [--samples 21] [--json FILE]

The networks of bench.finetune_digits and bench.finetune_vowels, trained and pruned without structure as
there, seed 0. Of each pruned convolution: the share of its 3x3 filters that are empty, beside that of random
zeros, and the times, in turn, of our dense kernel, sparse panels, sparse Winograd and our choice among all.

A split layer computes the rows that keep most weights by one kernel and the others by another. Its time here
is the sum of two layers of our choice, at the best of three places; that is what it could reach at best, as
neither the reading of the input twice nor the joining of results is counted against it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from bench.command import run
from bench.finetune_digits import digits
from bench.finetune_vowels import vowels
from bench.finetuning import DENSE_EPOCHS, PRUNING_EPOCHS, RETRAINING_EPOCHS, Task, Trained, retrain, train
from sparsegen.compare.layer import kernels
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.report import Timing
from sparsegen.compare.timing import Call, time_in_turn
from sparsegen.compiler import compile_graph
from sparsegen.files import check_writable, write_file
from sparsegen.graph import Array, Conv2d, Layer, LayerGraph
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.problems import winograd_choice
from sparsegen.target import parse_target

TASKS = {"digits": digits, "vowels": vowels}
SPLITS = (0.25, 0.5, 0.75)
"""Shares of a layer's rows that the first part of a split layer has."""


@dataclass(frozen=True)
class Row:
    """One convolution of a trained network; times in ms."""

    task: str
    sparsity: float
    layer: str
    weight: tuple[int, ...]
    image: tuple[int, int]
    density: float
    empty: float
    empty_if_random: float
    chosen: str
    times: dict[str, Timing]

    def ms(self, name: str) -> float:
        """Median of a racer."""
        return self.times[name].median_ms

    @property
    def split_ms(self) -> float:
        """Of the best split."""
        return min(self.ms(f"first {share}") + self.ms(f"rest {share}") for share in SPLITS)


def graph_of(weight: Array, batch: int, image: tuple[int, int]) -> LayerGraph:
    """A 3x3 convolution, padded, alone."""
    out_channels, channels = weight.shape[:2]
    conv = Conv2d(weight, np.zeros(out_channels, np.float32), padding=(1, 1, 1, 1))
    layer = Layer("layer", conv, ("x",), (batch, out_channels, *image))
    return LayerGraph({"x": (batch, channels, *image)}, [layer], ("layer",))


def race(weight: Array, batch: int, image: tuple[int, int], samples: int) -> tuple[str, dict[str, Timing]]:
    """The kernel that our choice is, and times of all."""
    whole = graph_of(weight, batch, image)
    plan = plan_graph(whole, threads=1, target=parse_target())
    sparse = winograd_choice(plan.layer("layer"), plan.context, sparse=True)
    racers = {
        "dense": compile_graph(whole, threads=1, dense=True, database=None),
        "panels": compile_graph(whole, threads=1, winograd=False, database=None),
        "ours": compile_graph(whole, threads=1, database=None),
    }
    if sparse is not None:
        racers["sparse winograd"] = compile_graph(whole, threads=1, schedules={"layer": sparse.schedule})
    by_density = weight[np.argsort(-np.count_nonzero(weight, axis=(1, 2, 3)), kind="stable")]
    for share in SPLITS:
        parts = np.split(by_density, [round(share * len(weight))])
        for name, part in zip(("first", "rest"), parts, strict=True):
            graph = graph_of(np.ascontiguousarray(part), batch, image)
            racers[f"{name} {share}"] = compile_graph(graph, threads=1, database=None)
    calls: dict[str, Call] = {name: kernels(model) for name, model in racers.items()}
    with torch.no_grad():
        return racers["ours"].layers[-1].kernel, time_in_turn(calls, samples=samples)


def pruned_networks(task: Task, sparsities: list[float]) -> Iterator[Trained]:
    """A network of the task, trained, then pruned to each sparsity while it is trained on."""
    torch.manual_seed(0)
    network = task.network()
    train(network, task.training, epochs=DENSE_EPOCHS, seed=0)
    for sparsity in sparsities:
        yield retrain(
            network,
            "unstructured",
            task.training,
            sparsity=sparsity,
            seed=0,
            epochs=RETRAINING_EPOCHS,
            pruning_epochs=PRUNING_EPOCHS,
        )


def image_sizes(trained: Trained, inputs: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Height and width that each convolution reads, by its name."""
    sizes: dict[str, tuple[int, int]] = {}

    def note(name: str) -> None:
        def hook(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            sizes[name] = (given[0].shape[2], given[0].shape[3])

        trained.network.get_submodule(name).register_forward_pre_hook(hook)

    for layer in trained.pruned:
        if len(layer.shape) == 4:
            note(layer.name)
    with torch.inference_mode():
        trained.network(inputs[:1])
    return sizes


def rows(options: argparse.Namespace, console: Console) -> Iterator[Row]:
    """Every pruned convolution of every network."""
    for name, load in TASKS.items():
        task = load()
        for trained in list(pruned_networks(task, options.sparsities)):
            for layer, image in image_sizes(trained, task.testing.inputs).items():
                weight = trained.network.get_parameter(f"{layer}.weight").detach().numpy()
                console.print(f"{name}, {trained.asked:.0%}: {layer}", highlight=False)
                chosen, times = race(weight, options.batch, image, options.samples)
                density = np.count_nonzero(weight) / weight.size
                yield Row(
                    task=name,
                    sparsity=trained.asked,
                    layer=layer,
                    weight=weight.shape,
                    image=image,
                    density=density,
                    empty=float((weight == 0).all(axis=(2, 3)).mean()),
                    empty_if_random=(1 - density) ** 9,
                    chosen=chosen,
                    times=times,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description="Zeros of trained networks, layer by layer.")
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.5, 0.88, 0.9, 0.95])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--samples", type=int, default=21)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.json is not None:
        check_writable("--json", options.json)
    console, machine = Console(width=120), describe_machine(parse_target(), 1)
    table = Table(
        title=f"Trained, pruned without structure; batch {options.batch}, 1 thread, ms; {machine.cpu}"
    )
    for title in (
        "layer",
        "zeros",
        "empty",
        "random",
        "dense",
        "panels",
        "sparse W.",
        "ours",
        "chosen",
        "split",
    ):
        table.add_column(title, justify="right")
    found = []
    for row in rows(options, console):
        found.append(row)
        sparse = f"{row.ms('sparse winograd'):.3f}" if "sparse winograd" in row.times else ""
        table.add_row(
            f"{row.task} {row.weight[1]} to {row.weight[0]} at {row.image[0]}x{row.image[1]}",
            f"{1 - row.density:.0%}",
            f"{row.empty:.1%}",
            f"{row.empty_if_random:.1%}",
            f"{row.ms('dense'):.3f}",
            f"{row.ms('panels'):.3f}",
            sparse,
            f"{row.ms('ours'):.3f}",
            row.chosen,
            f"{row.split_ms:.3f}",
        )
    console.print(table)
    if options.json is not None:
        described = {"machine": asdict(machine), "batch": options.batch, "samples": options.samples}
        described |= {"layers": [asdict(row) | {"split_ms": row.split_ms} for row in found]}
        write_file(options.json, json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
