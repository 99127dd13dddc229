"""Fine-tuning of pruned networks on a real task: what it costs in accuracy and buys in time.

`bench.finetune_digits` and `bench.finetune_vowels` are commands of it. Each run seed draws its own first
weights and order of the training data. Nothing is chosen by the test data: they are looked at after the last
epoch.

After DENSE_EPOCHS a network goes on in copies, each for the same RETRAINING_EPOCHS: one dense, and one for
each method and sparsity, pruned gradually (a cubic schedule) in the first PRUNING_EPOCHS of them. For column
combining each such step is the paper's: prune, group, conflict-prune. The last groups stay for the epochs
left. The first convolution and the classifier stay dense.

Times are of the whole compiled network on a batch of 16, 1 thread, against the best dense engine.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import sparsegen
from sparsegen.compare.machine import describe_machine
from sparsegen.files import check_writable, write_file
from sparsegen.pruning import (
    CubicSchedule,
    GradualPruning,
    PrunedLayer,
    column_combine,
    finalize,
    kernel,
    magnitude,
    vector,
)
from sparsegen.pruning.prunable import Model
from sparsegen.target import parse_target

SPARSITIES = (0.5, 0.88)
SEEDS = (0, 1, 2)

DENSE_EPOCHS, RETRAINING_EPOCHS, PRUNING_EPOCHS = 6, 8, 4
PRUNINGS_PER_EPOCH = 2
TRAINING_BATCH, LEARNING_RATE = 50, 1e-3

BATCH, THREADS, SAMPLES = 16, 1, 101
"""Of the timing."""

DENSE = "dense"


class Method(Protocol):
    """A pruning method of which only the sparsity is open."""

    def __call__(self, model: Model, *, sparsity: float) -> tuple[PrunedLayer, ...]: ...


METHODS: dict[str, Method] = {
    "unstructured": partial(magnitude, linear=True),
    "vector:4": partial(vector, linear=True, rows=4),
    "kernel:1": partial(kernel, linear=True, rows=1),
    "kernel:4": partial(kernel, linear=True, rows=4),
    "combined-greedy": partial(column_combine, linear=True),
    "combined-annealing": partial(column_combine, linear=True, method="annealing"),
}


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs [N, C, H, W] and labels [N]."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Task:
    """What is learned: `network` makes a new one, logits of inputs."""

    network: Callable[[], nn.Module]
    training: Examples
    testing: Examples


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that is done, its masks permanent, and what pruning said last: nothing for the dense one.

    `asked` is the sparsity that was asked for, 0 for the dense one.
    """

    seed: int
    method: str
    asked: float
    network: nn.Module
    pruned: tuple[PrunedLayer, ...]


@dataclass(frozen=True)
class Result:
    """One network, measured.

    `asked` is the sparsity asked for. Accuracies are in percent of the test data, `difference` in points
    from the dense network of the seed; `accuracy` is the compiled network's, `torch_accuracy` torch's.
    `sparsity` is over the pruned layers; `packing_density` the share of their packed weights that are not
    zero, None where nothing is packed. Times are medians in ms, `speedup` is over the best dense engine,
    `layers_speedup` the geometric mean of that over the two pruned convolutions on their own.
    """

    seed: int
    method: str
    asked: float
    accuracy: float
    torch_accuracy: float
    difference: float
    sparsity: float
    packing_density: float | None
    sparse_ms: float
    dense_ms: float
    best_dense: str
    speedup: float
    layers_speedup: float


def steps_per_epoch(data: Examples) -> int:
    return -(-len(data.labels) // TRAINING_BATCH)


def train(
    network: nn.Module, data: Examples, *, epochs: int, seed: int, pruning: GradualPruning | None = None
) -> tuple[PrunedLayer, ...]:
    """Train in place, the learning rate falling to 0 along a cosine; return what pruning said last."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps_per_epoch(data))
    pruned: tuple[PrunedLayer, ...] = ()
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(data.labels), generator=generator).split(TRAINING_BATCH):
            if pruning is not None:
                pruned = pruning.step() or pruned
            optimiser.zero_grad()
            F.cross_entropy(network(data.inputs[chosen]), data.labels[chosen]).backward()
            optimiser.step()
            decay.step()
    network.eval()
    return pruned


def retrain(
    dense: nn.Module,
    method: str,
    data: Examples,
    *,
    sparsity: float,
    seed: int,
    epochs: int,
    pruning_epochs: int,
) -> Trained:
    """Train a copy of `dense` on, pruning it to this sparsity by `method` unless that is DENSE."""
    network = copy.deepcopy(dense)
    pruning = None
    if method != DENSE:
        end = pruning_epochs * steps_per_epoch(data)
        schedule = CubicSchedule(
            final=sparsity, end=end, every=max(1, end // (pruning_epochs * PRUNINGS_PER_EPOCH))
        )
        prune = METHODS[method]
        pruning = GradualPruning(network, lambda model, sparsity: prune(model, sparsity=sparsity), schedule)
    pruned = train(network, data, epochs=epochs, seed=seed, pruning=pruning)
    return Trained(seed, method, sparsity, finalize(network), pruned)


def train_from(seed: int, sparsities: Sequence[float], task: Task, console: Console) -> Iterator[Trained]:
    """The dense network of a seed, then the pruned ones."""
    torch.manual_seed(seed)
    network, data = task.network(), task.training
    train(network, data, epochs=DENSE_EPOCHS, seed=seed)
    for method, sparsity in ((DENSE, 0.0), *itertools.product(METHODS, sparsities)):
        console.print(f"seed {seed}: {method}, {sparsity:.0%}", highlight=False)
        yield retrain(
            network,
            method,
            data,
            sparsity=sparsity,
            seed=seed,
            epochs=RETRAINING_EPOCHS,
            pruning_epochs=PRUNING_EPOCHS,
        )


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percent of the inputs whose largest logit is that of their label."""
    return 100 * (logits.argmax(dim=1) == labels).double().mean().item()


def sparsity_and_packing(trained: Trained) -> tuple[float, float | None]:
    """Share of zeros in the pruned weights, and of kept weights in the packed ones, [K, groups] a layer."""
    if not trained.pruned:
        return 0.0, None
    weights = [trained.network.get_parameter(f"{layer.name}.weight") for layer in trained.pruned]
    kept = sum(int(weight.count_nonzero()) for weight in weights)
    slots = sum(layer.shape[0] * layer.detail.get("groups", 0) for layer in trained.pruned)
    return 1 - kept / sum(weight.numel() for weight in weights), kept / slots if slots else None


def measure(trained: Trained, data: Examples, *, dense_accuracy: float | None) -> Result:
    """Compile and time a network; `dense_accuracy` of None says that it is the dense one."""
    compiled = sparsegen.compile(trained.network, (data.inputs,), threads=THREADS)
    with torch.inference_mode():
        logits = trained.network(data.inputs)
    reached = accuracy(compiled(data.inputs), data.labels)
    comparison = sparsegen.compare(
        trained.network, (data.inputs[:BATCH],), sparsity=0, threads=THREADS, samples=SAMPLES
    )
    assert comparison.end_to_end is not None
    assert comparison.geomean_speedup is not None
    race = comparison.end_to_end.race
    sparsity, packing = sparsity_and_packing(trained)
    return Result(
        seed=trained.seed,
        method=trained.method,
        asked=trained.asked,
        accuracy=reached,
        torch_accuracy=accuracy(logits, data.labels),
        difference=0.0 if dense_accuracy is None else reached - dense_accuracy,
        sparsity=sparsity,
        packing_density=packing,
        sparse_ms=race.sparse.median_ms,
        dense_ms=race.dense[race.best_dense].median_ms,
        best_dense=race.best_dense,
        speedup=race.speedup,
        layers_speedup=comparison.geomean_speedup,
    )


def measure_all(networks: Sequence[Trained], data: Examples, console: Console) -> list[Result]:
    """Every network in turn; each seed begins with its dense one."""
    results: list[Result] = []
    dense_accuracy: float | None = None
    for trained in networks:
        told = f"seed {trained.seed}: measuring {trained.method}, {trained.asked:.0%}"
        console.print(told, highlight=False)
        reference = None if trained.method == DENSE else dense_accuracy
        results.append(measure(trained, data, dense_accuracy=reference))
        if reference is None:
            dense_accuracy = results[-1].accuracy
    return results


def means(results: Sequence[Result]) -> dict[str, dict[str, float | None]]:
    """Over the seeds, by method and sparsity: arithmetic means, geometric ones of the speed-ups."""
    found: dict[str, dict[str, float | None]] = {}
    for method, asked in dict.fromkeys((result.method, result.asked) for result in results):
        mine = [result for result in results if (result.method, result.asked) == (method, asked)]
        packing = [result.packing_density for result in mine if result.packing_density is not None]
        found[f"{method}, {asked:.0%}"] = {
            "accuracy": statistics.mean(result.accuracy for result in mine),
            "difference": statistics.mean(result.difference for result in mine),
            "sparsity": statistics.mean(result.sparsity for result in mine),
            "packing_density": statistics.mean(packing) if packing else None,
            "speedup": statistics.geometric_mean(result.speedup for result in mine),
            "layers_speedup": statistics.geometric_mean(result.layers_speedup for result in mine),
        }
    return found


COLUMNS = ("seed", "method", "accuracy", "points", "sparsity", "packed", "network", "layers")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """What a result and a mean have in common; accuracy in percent and points, speed-ups as ratios."""
    packing = row["packing_density"]
    return (
        f"{row['accuracy']:.2f} %",
        f"{row['difference']:+.2f}",
        f"{row['sparsity']:.1%}",
        "" if packing is None else f"{packing:.1%}",
        f"{row['speedup']:.2f}x",
        f"{row['layers_speedup']:.2f}x",
    )


def finetune(description: str, load: Callable[[], Task]) -> None:
    """The command: train, prune and measure networks of a task; a table, and JSON where asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sparsities", type=float, nargs="+", default=SPARSITIES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.json is not None:
        check_writable("--json", options.json)
    console, task = Console(), load()
    networks = [trained for seed in SEEDS for trained in train_from(seed, options.sparsities, task, console)]
    results = measure_all(networks, task.testing, console)
    table = Table(*COLUMNS, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for result in results:
        table.add_row(str(result.seed), f"{result.method}, {result.asked:.0%}", *cells(asdict(result)))
    for method, row in means(results).items():
        table.add_row("mean", method, *cells(row))
    console.print(table)
    if options.json is not None:
        found = {
            "machine": asdict(describe_machine(parse_target(), THREADS)),
            "batch": BATCH,
            "threads": THREADS,
            "samples": SAMPLES,
            "training_examples": len(task.training.labels),
            "test_examples": len(task.testing.labels),
            "results": [asdict(result) for result in results],
            "means": means(results),
        }
        write_file(options.json, json.dumps(found, indent=1) + "\n")
