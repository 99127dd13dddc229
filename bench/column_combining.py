"""Column combining of ResNet-18's and VGG-19's convolutions: greedy groups against annealed ones.

    OMP_NUM_THREADS=1 python bench/column_combining.py [--json FILE]

The weights are random (pytorchcv's own initialisation, uniform, from a fixed seed): the figures compare
the methods, and do not tell what a trained network keeps. One layer stands for all of its shape in a
model; the stem and linear layers stay dense. Seconds are CPU time of one call each, greedy grouping
included. `unstructured` is the share of the L1 norm that pruning by magnitude alone would keep at the
sparsity asked for, which no combination exceeds; `won back` is the part of greedy's loss against
it that annealing makes good.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen.compare.machine import describe_machine
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import load_model
from sparsegen.pruning.combining import combine_columns
from sparsegen.pruning.prunable import prunable_layers
from sparsegen.target import parse_target

MODELS = ("resnet18", "vgg19")
SPARSITIES = (0.8, 0.88, 0.95)
WHOLE = {("resnet18", (256, 256, 3, 3)), ("resnet18", (512, 512, 3, 3))}
"""Layers that are grouped as one window too, as in the paper, at WHOLE_SPARSITY."""
WHOLE_SPARSITY = 0.88

Window = Literal["auto"] | None


@dataclass(frozen=True)
class Result:
    """One combination; `sparsity` is what came out, shares are of 1."""

    groups: int
    packing_density: float
    sparsity: float
    kept_l1: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """A layer at a sparsity asked for, both methods side by side."""

    model: str
    layer: str
    shape: tuple[int, ...]
    asked: float
    window: Window
    unstructured: float
    greedy: Result
    annealing: Result

    @property
    def won_back(self) -> float:
        lost = self.unstructured - self.greedy.kept_l1
        return (self.annealing.kept_l1 - self.greedy.kept_l1) / lost if lost else 0.0


def layers_of(model: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The first convolution of each weight shape."""
    seen = set()
    for layer in prunable_layers(load_model(model, batch=1)[0]):
        if layer.weight.shape not in seen:
            seen.add(layer.weight.shape)
            yield layer.name, layer.weight.numpy()


def combined(weight: NDArray[np.float32], sparsity: float, window: Window) -> Iterator[Result]:
    for method in ("greedy", "annealing"):
        begin = time.process_time()
        result = combine_columns(
            weight.reshape(len(weight), -1),
            columns_per_channel=weight[0, 0].size,
            sparsity=sparsity,
            method=method,
            window=window,
        )
        seconds = time.process_time() - begin
        yield Result(len(result.groups), result.packing_density, result.sparsity, result.kept_l1, seconds)


def rows() -> Iterator[Row]:
    for model in MODELS:
        for name, weight in layers_of(model):
            windows: dict[float, list[Window]] = {sparsity: ["auto"] for sparsity in SPARSITIES}
            if (model, weight.shape) in WHOLE:
                windows[WHOLE_SPARSITY].append(None)
            magnitudes = np.sort(np.abs(weight), axis=None)
            for sparsity, wanted in windows.items():
                largest = magnitudes[round(sparsity * weight.size) :]
                share = float(largest.sum(dtype=np.float64) / magnitudes.sum(dtype=np.float64))
                for window in wanted:
                    greedy, annealing = combined(weight, sparsity, window)
                    yield Row(model, name, weight.shape, sparsity, window, share, greedy, annealing)


COLUMNS = (
    *("model", "weights", "asked", "window", "groups", "packing", "sparsity"),
    *("unstructured", "greedy", "annealing", "won back", "greedy s", "annealing s"),
)


def cells(row: Row) -> tuple[str, ...]:
    """`groups`, `packing` and `sparsity` as greedy / annealing where they differ."""
    pairs = [
        (f"{row.greedy.groups}", f"{row.annealing.groups}"),
        (f"{row.greedy.packing_density:.1%}", f"{row.annealing.packing_density:.1%}"),
        (f"{row.greedy.sparsity:.1%}", f"{row.annealing.sparsity:.1%}"),
    ]
    return (
        row.model,
        "x".join(map(str, row.shape)),
        f"{row.asked:.0%}",
        "whole" if row.window is None else row.window,
        *(first if first == second else f"{first} / {second}" for first, second in pairs),
        *(f"{share:.2%}" for share in (row.unstructured, row.greedy.kept_l1, row.annealing.kept_l1)),
        f"{row.won_back:.0%}",
        *(f"{seconds:.2f}" for seconds in (row.greedy.seconds, row.annealing.seconds)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Column combining of convolutions with random weights.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.json is not None:
        check_writable("--json", options.json)
    threads = torch.get_num_threads()
    machine = describe_machine(parse_target(), threads)
    table = Table(*COLUMNS, title=f"kept share of the L1 norm; {threads} thread(s) of {machine.cpu}")
    found = []
    console = Console()
    with console.status("combining columns"):
        for row in rows():
            found.append(row)
            table.add_row(*cells(row))
    console.print(table)
    if options.json is not None:
        described = {"machine": asdict(machine), "numpy": np.__version__, "threads": threads}
        described |= {"weights": "random", "rows": [asdict(row) for row in found]}
        write_file(options.json, json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
