"""Our kernels and torch's mixed by cost, against either alone, at batch 1.

    python -m bench.mixed [MODEL ...] [--sparsity 0.8] [--threads 2] [--samples 31] [--quick] [--json FILE]

Layers of a network, pruned at random places, are timed by our kernels and by torch's; those for which torch
is faster are left to it within our program. The planner takes that program, ours or torch's, whichever is
called fastest (`hetero.costs.mixing`). Then, from new calls in turn, medians are told, with the 10th and
the 90th percentile. It ends with 1 where what was taken is slower than either alone, beyond the noise.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils import _pytree

from bench.command import run
from bench.same import MODELS, SHAPES
from sparsegen import pruning
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.report import Timing
from sparsegen.compare.timing import time_in_turn
from sparsegen.cpuinfo import available_cores
from sparsegen.devices import make_device
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import from_torch, load_model
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.measure import on_cores
from sparsegen.hetero.costs.mixing import layer_seconds, mix_on, program
from sparsegen.hetero.plans.plan import MIXED, OURS, TORCH
from sparsegen.noise import warn_of_noise
from sparsegen.target import parse_target

NOISE = 0.03
"""Share of a time by which what was taken may be the slower one: medians of some calls differ by that."""
_CLOSE = 1e-4  # of the largest result


@dataclass(frozen=True)
class Mixture:
    """A network's times of whole calls, by implementation, and which one was taken.

    by_torch: layers that torch computes in the mixed program; layers: of all. error: of the taken program's
    results against torch's, of the largest.
    """

    model: str
    taken: str
    by_torch: int
    layers: int
    times: Mapping[str, Timing]
    error: float

    @property
    def ratio(self) -> float:
        """The time of the faster one of ours and torch's over that of what was taken."""
        medians = {name: each.median_ms for name, each in self.times.items()}
        return min(medians[OURS], medians[TORCH]) / medians[self.taken]


def measure(name: str, sparsity: float, threads: int, samples: int) -> Mixture:
    """Mix a network by its layers' costs, and time it; nothing that was measured before counts."""
    torch.manual_seed(0)
    model, inputs = load_model(name, batch=1, input_shape=SHAPES.get(name))
    if sparsity:
        pruning.prune(model, structure="unstructured", sparsity=sparsity)
        pruning.finalize(model)
    graph, cache = from_torch(model, inputs), CostCache(None)
    device = make_device("cpu", "cpu", {"cores": sorted(os.sched_getaffinity(0))[:threads]})
    mix = mix_on(device, graph, layer_seconds(graph, device, inputs, cache), inputs, cache)

    def timed() -> tuple[Mapping[str, Timing], float]:
        programs = {each: program(each, graph, mix.by_torch, threads) for each in mix.seconds}
        calls: dict[str, Callable[[], object]] = {
            each: functools.partial(run, *inputs) for each, run in programs.items()
        }
        error = _error(programs[mix.implementation](*inputs), programs[TORCH](*inputs))
        return time_in_turn(calls, samples=samples), error

    found, error = on_cores(device.cores, timed)
    return Mixture(name, mix.implementation, len(mix.by_torch), len(graph.layers), found, error)


def _error(found: Any, wanted: Any) -> float:
    pairs = zip(_pytree.tree_leaves(found), _pytree.tree_leaves(wanted), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def table(found: Sequence[Mixture], threads: int) -> Table:
    """A row a network."""
    shown = Table(title=f"ms a call, batch 1, {threads} threads: medians (10th to 90th percentile), in turn")
    shown.add_column("model")
    for heading in ("ours", "torch's", "mixed", "layers by torch", "taken", "over the better", "error"):
        shown.add_column(heading, justify="right")
    for each in found:
        told = (_spread(each.times.get(name)) for name in (OURS, TORCH, MIXED))
        shown.add_row(
            each.model.rpartition(":")[2],
            *told,
            f"{each.by_torch} of {each.layers}",
            each.taken,
            f"{each.ratio:.2f}x",
            f"{each.error:.0e}",
        )
    return shown


def _spread(time: Timing | None) -> str:
    return "-" if time is None else f"{time.median_ms:.2f} ({time.p10_ms:.2f} to {time.p90_ms:.2f})"


def main() -> int:
    """Read the arguments, measure, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--samples", type=int, default=31)
    parser.add_argument("--quick", action="store_true", help="9 samples")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    warn_of_noise()
    console, samples = Console(width=max(Console().width, 140)), 9 if asked.quick else asked.samples
    found = list[Mixture]()
    for model in asked.models:
        found.append(measure(model, asked.sparsity, asked.threads, samples))
        last = found[-1]
        console.print(f"{last.model}: {last.taken}, {last.ratio:.2f}x the better one", highlight=False)
    console.print(table(found, asked.threads))
    slower = [each.model for each in found if each.ratio < 1 - NOISE]
    wrong = [each.model for each in found if each.error > _CLOSE]
    for what, models in (("slower than one alone", slower), ("wrong", wrong)):
        if models:
            console.print(f"{what}: {', '.join(models)}", highlight=False)
    if asked.json is not None:
        machine = asdict(describe_machine(parse_target(), asked.threads))
        settings = {"batch": 1, "threads": asked.threads, "sparsity": asked.sparsity}
        rows = [{**asdict(each), "ratio": each.ratio} for each in found]
        record = {"machine": machine, **settings, "noise": NOISE, "samples": samples, "models": rows}
        write_file(asked.json, json.dumps(record, indent=1) + "\n")
    return int(bool(slower or wrong))


if __name__ == "__main__":
    run(main)
