"""Calls of one model a second, from one thread and from several; and what a call takes beside kernels.

    python -m bench.throughput [MODEL ...] [--batch 1] [--callers 2] [--seconds 2] [--rounds 7] [--json FILE]

The model runs on one thread a call. One caller and several take turns, round by round; medians are told, with
the spread of the middle half. All results are compared with those of a call alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import sparsegen
from bench.command import run
from sparsegen import pruning
from sparsegen.compare.machine import describe_machine
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import load_model
from sparsegen.noise import warn_of_noise
from sparsegen.target import parse_target

MODELS = ("mobilenet_w1",)
_SPARSITY = 0.8


@dataclass(frozen=True)
class Throughput:
    """Calls a second of one caller and of several, round by round; microseconds of a call beside kernels."""

    model: str
    batch: int
    callers: int
    alone: tuple[float, ...]
    together: tuple[float, ...]
    overhead_us: float

    @property
    def gain(self) -> float:
        """Median throughput of several callers over that of one."""
        return statistics.median(self.together) / statistics.median(self.alone)


def measure(name: str, batch: int, callers: int, seconds: float, rounds: int) -> Throughput:
    """Compile a model that is pruned at random places, and call it."""
    torch.manual_seed(0)
    model, inputs = load_model(name, batch=batch)
    pruning.prune(model, structure="unstructured", sparsity=_SPARSITY)
    pruning.finalize(model)
    compiled = sparsegen.compile(model, inputs, threads=1)
    expected = compiled(*inputs)
    alone, together = [], []
    for _ in range(rounds):
        alone.append(_calls_a_second(compiled, inputs, expected, 1, seconds))
        together.append(_calls_a_second(compiled, inputs, expected, callers, seconds))
    return Throughput(name, batch, callers, tuple(alone), tuple(together), _overhead_us(compiled, inputs))


def _calls_a_second(
    compiled: sparsegen.CompiledModel,
    inputs: Sequence[torch.Tensor],
    expected: torch.Tensor,
    callers: int,
    seconds: float,
) -> float:
    """Of all callers together. Raises AssertionError where a result differs from that of a call alone."""
    start = threading.Barrier(callers)

    def call(_: int) -> int:
        start.wait()
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            assert torch.equal(compiled(*inputs), expected), "a call gives another result than one alone"
            count += 1
        return count

    with ThreadPoolExecutor(callers) as pool:
        return sum(pool.map(call, range(callers))) / seconds


def _overhead_us(
    compiled: sparsegen.CompiledModel, inputs: Sequence[torch.Tensor], samples: int = 50
) -> float:
    """The median of a call's time less that of its layers' together, of calls in turn."""
    whole, inside = [], []
    for _ in range(samples):
        started = time.perf_counter()
        compiled(*inputs)
        whole.append(time.perf_counter() - started)
        inside.append(sum(end - begin for _, begin, end in compiled.timeline(*inputs)))
    return (statistics.median(whole) - statistics.median(inside)) * 1e6


def main() -> None:
    """Read the arguments, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--callers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    warn_of_noise()
    measured = [
        measure(model, asked.batch, asked.callers, asked.seconds, asked.rounds) for model in asked.models
    ]
    table = Table(title="calls a second, median (middle half)")
    for heading in ("model", "one caller", f"{asked.callers} callers", "gain", "beside kernels"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for each in measured:
        table.add_row(
            each.model,
            _told(each.alone),
            _told(each.together),
            f"{each.gain:.2f}x",
            f"{each.overhead_us:.0f} us",
        )
    Console().print(table)
    if asked.json is not None:
        machine = asdict(describe_machine(parse_target(), asked.callers))
        record = {"machine": machine, "models": [{**asdict(each), "gain": each.gain} for each in measured]}
        write_file(asked.json, json.dumps(record, indent=2) + "\n")


def _told(rates: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    run(main)
