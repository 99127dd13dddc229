"""Operators at once on shares of the cores, against one after the other on all of them.

    python -m bench.interoperator [MODEL ...] [--sparsities 0 0.8] [--threads 2] [--samples 30] [--json FILE]

Each model, at batch 1, pruned at random places, runs sequentially on all threads and on one, in stages as
the scheduler plans them (`hetero.stages.staging`), and in two rivals' stages: "greedy" takes all operators
that are ready, again and again; "a branch a thread" deals branches to threads without asking for their times.
All are called in turn; medians are told. Results are compared with the sequential program's, and that with
torch's in float64. Gains are over the better of the two sequential programs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.command import run
from bench.device_networks import randwire
from sparsegen import pruning
from sparsegen.compare.machine import describe_machine
from sparsegen.compiler import compile_plan, default_plan
from sparsegen.cpuinfo import available_cores
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import from_torch, load_model
from sparsegen.graph import LayerGraph
from sparsegen.hetero.stages.rivals import a_branch_a_thread, greedy
from sparsegen.hetero.stages.search import FoundStage, Terms, chained
from sparsegen.hetero.stages.staging import Staged, layer_stages, stage
from sparsegen.noise import warn_of_noise
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import parse_target

MODELS = (
    "nasnet_4a1056",
    "bench.interoperator:small_randwire",
    "bench.interoperator:ensemble",
    "inceptionv3",
    "bninception",
    "resnext50_32x4d",
    "squeezenet_v1_1",
    "densenet121",
    "resnet18",
)
SHAPES = {f"bench.interoperator:{name}": (3, 224, 224) for name in ("small_randwire", "ensemble")}
_CLOSE = 1e-3  # of the largest result: Winograd and direct sums differ


def small_randwire() -> nn.Module:
    """RandWire of 78 channels, as its paper's small networks have."""
    torch.manual_seed(0)
    return randwire(78)


class _Mean(nn.Module):
    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([model(x) for model in self.models]).mean(0)


def ensemble() -> nn.Module:
    """Three MobileNets-V1 of different widths, whose results are averaged."""
    torch.manual_seed(0)
    return _Mean(
        [load_model(name, batch=1)[0] for name in ("mobilenet_w1", "mobilenet_w3d4", "mobilenet_wd2")]
    )


@dataclass(frozen=True)
class Gain:
    """Seconds of a call, each sample, by what ran; the error against torch in float64, of the largest result.

    `stages`: how many the plan has, and how many of several groups; 0 where it is the sequential program.
    """

    model: str
    sparsity: float
    samples: dict[str, list[float]]
    stages: int
    parallel: int
    planned_s: float
    slowdown: float
    error: float

    def median(self, name: str) -> float | None:
        """Of what ran, in seconds; None for what did not run."""
        return statistics.median(self.samples[name]) if name in self.samples else None

    @property
    def gain(self) -> float:
        """The better sequential program's time over the plan's."""
        sequential = min(self.median("sequential") or 0.0, self.median("one thread") or 0.0)
        planned = self.median("stages")
        return 1.0 if planned is None else sequential / planned


def measure(name: str, sparsity: float, threads: int, samples: int) -> Gain:
    """Plan a model, and time the plan and its rivals."""
    torch.manual_seed(0)
    model, inputs = load_model(name, batch=1, input_shape=SHAPES.get(name))
    if sparsity:
        pruning.prune(model, structure="unstructured", sparsity=sparsity)
        pruning.finalize(model)
    graph = from_torch(model, inputs)
    begun = time.perf_counter()
    staged = stage(graph, inputs, threads=threads)
    planned_s = time.perf_counter() - begun
    models = _models(graph, staged, threads)
    expected = models["sequential"](*inputs)
    with torch.no_grad():
        exact = model.double()(*(each.double() for each in inputs))
    largest = exact.abs().max().item()
    error = (expected.double() - exact).abs().max().item() / largest
    for what, each in models.items():
        off = (each(*inputs) - expected).abs().max().item()
        assert off <= _CLOSE * largest, f"{name}, {what}: off by {off}"
    parallel = sum(len(each.groups) > 1 for each in staged.found)
    timed = _in_turn(models, inputs, samples)
    return Gain(name, sparsity, timed, len(staged.found), parallel, planned_s, staged.slowdown, error)


def _models(graph: LayerGraph, staged: Staged, threads: int) -> dict[str, CompiledModel]:
    plan = default_plan(graph, threads)
    models = {
        "sequential": compile_plan(plan),
        "one thread": compile_plan(default_plan(graph, 1)),
    }
    if staged.gains:
        models["stages"] = staged.model
    terms = Terms(threads=threads)
    rivals: dict[str, list[FoundStage]] = {
        "greedy": greedy(staged.units, terms),
        "a branch a thread": a_branch_a_thread(staged.units, terms),
    }
    for name, found in rivals.items():
        models[name] = compile_plan(plan.staged(layer_stages(chained(found), staged.units)))
    return models


def _in_turn(
    models: dict[str, CompiledModel], inputs: tuple[Any, ...], samples: int
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for sample in range(samples + 3):
        for name, model in models.items():
            begun = time.perf_counter()
            model(*inputs)
            if sample >= 3:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    """Read the arguments, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--sparsities", type=float, nargs="+", default=(0.0, 0.8))
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    warn_of_noise()
    console, gains = Console(), []
    for model in asked.models:
        for sparsity in asked.sparsities:
            gains.append(measure(model, sparsity, asked.threads, asked.samples))
            last = gains[-1]
            console.print(f"{last.model}, {last.sparsity:.0%} zeros: {last.gain:.2f}x", highlight=False)
            if asked.json is not None:
                machine = asdict(describe_machine(parse_target(), asked.threads))
                rows = [{**asdict(each), "gain": each.gain} for each in gains]
                write_file(asked.json, json.dumps({"machine": machine, "models": rows}, indent=1) + "\n")
    console.print(table(gains, asked.threads))


def table(gains: Sequence[Gain], threads: int) -> Table:
    """A row a model and sparsity, in milliseconds."""
    columns = ("sequential", "one thread", "greedy", "a branch a thread", "stages")
    shown = Table(title=f"ms a call, batch 1, {threads} threads: medians, called in turn")
    shown.add_column("model")
    for heading in (
        "zeros",
        "in a row",
        "1 thread",
        "greedy",
        "branches",
        "stages",
        "gain",
        "of which at once",
    ):
        shown.add_column(heading, justify="right")
    for each in gains:
        medians = [each.median(name) for name in columns]
        shown.add_row(
            each.model.rpartition(":")[2],
            f"{each.sparsity:.0%}",
            *("-" if value is None else f"{value * 1e3:.2f}" for value in medians),
            f"{each.gain:.2f}x",
            f"{each.parallel} of {each.stages}" if each.stages else "none",
        )
    return shown


if __name__ == "__main__":
    run(main)
