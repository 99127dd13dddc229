"""ResNet-18's 3x3 layers of stride 1, filters pruned together, against the best dense and their own bound.

    python -m bench.sparse_winograd [--windows] [--sparsity 0.5] [--rows 4] [--batches 16 1] [--threads 1 2]
        [--samples 21] [--json FILE]

With `--windows` layers of other filters, strides and paddings instead.

In turn, in one run: torch's dense convolutions, our own dense kernel (Winograd's), our sparse panels without
Winograd's filtering, and our choice. The bound is the time of the chosen kernel with nothing to multiply, so
of its transforms and stores, and so much of our dense kernel's other time as filters are kept. Weights are
random, of a fixed seed; every result is checked against float64.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen.compare.accuracy import accuracy
from sparsegen.compare.layer import kernels
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.peers import convolution_peers
from sparsegen.compare.report import Timing
from sparsegen.compare.timing import Call, time_in_turn
from sparsegen.compiler import compile_graph
from sparsegen.errors import MeasurementError
from sparsegen.files import check_writable, write_file
from sparsegen.graph import Array, Conv2d, Layer, LayerGraph
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.problems import winograd_choice
from sparsegen.reference import convolution_reference
from sparsegen.target import parse_target


@dataclass(frozen=True)
class Shape:
    """A convolution of `channels` images of so many pixels along both axes to `out`."""

    channels: int
    out: int
    pixels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def name(self) -> str:
        """Of the layer, in a table."""
        channels = f"{self.channels}" if self.channels == self.out else f"{self.channels} to {self.out}"
        if (self.kernel, self.stride, self.padding) == (3, 1, 1):
            return f"{channels} at {self.pixels}"
        stride = f" by {self.stride}" if self.stride > 1 else ""
        padding = "" if self.padding else " unpadded"
        return f"{channels} at {self.pixels}, {self.kernel}x{self.kernel}{stride}{padding}"

    @property
    def out_pixels(self) -> int:
        """Pixels of the output along both axes."""
        return (self.pixels + 2 * self.padding - self.kernel) // self.stride + 1


SHAPES = (Shape(64, 64, 56), Shape(128, 128, 28), Shape(256, 256, 14), Shape(512, 512, 7))
WINDOWS = (
    Shape(64, 128, 56, stride=2),
    Shape(128, 256, 28, stride=2),
    Shape(256, 512, 14, stride=2),
    Shape(64, 64, 28, kernel=5, padding=2),
    Shape(64, 64, 28, kernel=5, stride=2, padding=2),
    Shape(64, 64, 28, kernel=7, padding=3),
    Shape(64, 64, 58, padding=0),
)

_MOST_ERROR = 1e-4  # of the largest result


@dataclass(frozen=True)
class Row:
    """One layer; times in ms, medians, with the 10th and 90th percentile in the JSON."""

    shape: Shape
    batch: int
    threads: int
    kernel: str
    error: float
    times: dict[str, Timing]

    def ms(self, name: str) -> float:
        """Median of a racer."""
        return self.times[name].median_ms

    @property
    def dense(self) -> float:
        """Of the best dense."""
        return min(
            time.median_ms for name, time in self.times.items() if name not in ("ours", "direct", "idle")
        )

    def bound(self, kept: float) -> float:
        """Of the transforms, and this share of our dense kernel's products."""
        return self.ms("idle") + kept * max(0.0, self.ms("dense") - self.ms("idle"))


def pruned(shape: Shape, rows: int, sparsity: float) -> Array:
    """Random weights without this share of every group of rows' filters."""
    rng = np.random.default_rng(0)
    size = (shape.out, shape.channels, shape.kernel, shape.kernel)
    weight = rng.standard_normal(size) / np.sqrt(shape.kernel**2 * shape.channels)
    for first in range(0, shape.out, rows):
        chosen = rng.permutation(shape.channels)[: round(sparsity * shape.channels)]
        weight[first : first + rows, chosen] = 0
    return weight.astype(np.float32)


def race(shape: Shape, batch: int, threads: int, weight: Array, samples: int) -> Row:
    """Time one layer. Raises MeasurementError for a wrong result."""
    source = (batch, shape.channels, shape.pixels, shape.pixels)
    out = (batch, shape.out, shape.out_pixels, shape.out_pixels)

    def graph(weight: Array) -> LayerGraph:
        stride, padding = (shape.stride,) * 2, (shape.padding,) * 4
        conv = Conv2d(weight, np.zeros(shape.out, np.float32), stride, padding)
        return LayerGraph({"x": source}, [Layer("layer", conv, ("x",), out)], ("layer",))

    plan = plan_graph(graph(weight), threads=threads, target=parse_target())
    choice = winograd_choice(plan.layer("layer"), plan.context, sparse=True)
    assert choice is not None
    compiled = {
        "ours": compile_graph(graph(weight), threads=threads, database=None),
        "dense": compile_graph(graph(weight), threads=threads, dense=True, database=None),
        "direct": compile_graph(graph(weight), threads=threads, winograd=False, database=None),
        "idle": compile_graph(
            graph(np.zeros_like(weight)), threads=threads, schedules={"layer": choice.schedule}
        ),
    }
    x = torch.randn(source, generator=torch.Generator().manual_seed(0))
    conv = graph(weight).layers[0].core
    assert isinstance(conv, Conv2d)
    reference, results = convolution_reference(conv, x), {name: model(x) for name, model in compiled.items()}
    del results["idle"]  # of no weights
    errors = {name: accuracy(result, reference).relative_error for name, result in results.items()}
    if not max(errors.values()) <= _MOST_ERROR:
        raise MeasurementError(f"{shape.name}: results are off by {errors}")
    torch.set_num_threads(threads)
    calls: dict[str, Call] = {name: kernels(model) for name, model in compiled.items()}
    calls |= convolution_peers(conv, x)
    with torch.no_grad():
        times = time_in_turn(calls, samples=samples)
    return Row(shape, batch, threads, compiled["ours"].layers[-1].kernel, errors["ours"], times)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every layer at every batch and number of threads."""
    for batch in options.batches:
        for threads in options.threads:
            for shape in WINDOWS if options.windows else SHAPES:
                weight = pruned(shape, options.rows, options.sparsity)
                yield race(shape, batch, threads, weight, options.samples)


def main() -> None:
    parser = argparse.ArgumentParser(description="Filters pruned together, in Winograd's domain.")
    parser.add_argument("--windows", action="store_true", help="other filters, strides and paddings")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--samples", type=int, default=21)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.json is not None:
        check_writable("--json", options.json)
    machine = describe_machine(parse_target(), max(options.threads))
    table = Table(title=f"kernel:{options.rows}, {options.sparsity:.0%} zeros, ms; {machine.cpu}")
    for title in ("layer", "batch", "threads", "torch", "dense", "direct", "ours", "over dense", "of bound"):
        table.add_column(title, justify="right")
    found, kept = [], 1 - options.sparsity
    for row in rows(options):
        found.append(row)
        torch_ms = min(time.median_ms for name, time in row.times.items() if name.startswith("torch"))
        times = (torch_ms, row.ms("dense"), row.ms("direct"), row.ms("ours"))
        table.add_row(
            row.shape.name,
            *(str(count) for count in (row.batch, row.threads)),
            *(f"{ms:.3g}" for ms in times),
            f"{row.dense / row.ms('ours'):.2f}",
            f"{row.bound(kept) / row.ms('ours'):.0%}",
        )
    console = Console(width=110)
    console.print(table)
    mean = geometric_mean(row.dense / row.ms("ours") for row in found)
    console.print(f"geometric mean over the best dense: {mean:.2f}")
    if options.json is not None:
        described = {"machine": asdict(machine), "sparsity": options.sparsity, "rows": options.rows}
        described |= {"samples": options.samples, "geometric_mean": mean}
        described |= {"layers": [asdict(row) | {"bound_ms": row.bound(kept)} for row in found]}
        write_file(options.json, json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
