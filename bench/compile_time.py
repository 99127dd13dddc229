"""Where the time of a compilation goes: its parts in seconds, network by network.

    python -m bench.compile_time [MODEL ...] [--batches 16 1] [--threads N] [--target CPU] [--sparsity 0.5]
        [--json FILE]

Every compilation runs in a process of its own, after one of a small network that makes torch and TVM
ready, on a network pruned at random places. A part's time is that of the clock; next to it stands the CPU
time of its threads and of the linker, which neighbours on the machine change less. Kernels are compiled by
several threads at once: their parts add up to more than they take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen.files import check_writable, write_file

MODELS = ("resnet18", "densenet121", "nasnet_4a1056")
SHAPES = {"bench.models:bert": (128, 768)}
"""Inputs of models that do not tell theirs, without the batch."""

Seconds = tuple[float, float]
"""By the clock, and of CPU."""


@dataclass(frozen=True)
class Setting:
    """One compilation; `target` and `threads` are as in `sparsegen.compile`."""

    model: str
    batch: int
    threads: int | None
    target: str
    sparsity: float


@dataclass(frozen=True)
class Times:
    """What one compilation took, in the order in which parts ended first; `total` is all of it."""

    setting: Setting
    machine: dict[str, Any]
    parts: dict[str, Seconds]
    total: Seconds


def measure(setting: Setting) -> Times:
    """Compile a network in this process."""
    import torch

    import sparsegen
    from sparsegen import pruning, stopwatch
    from sparsegen.compare.machine import describe_machine
    from sparsegen.frontend import load_model
    from sparsegen.target import parse_target

    options: dict[str, Any] = {"threads": setting.threads, "target": setting.target}
    sparsegen.compile(torch.nn.Conv2d(3, 8, 3).eval(), (torch.zeros(1, 3, 8, 8),), **options)
    model, inputs = load_model(setting.model, batch=setting.batch, input_shape=SHAPES.get(setting.model))
    if setting.sparsity:
        pruning.prune(model, structure="unstructured", sparsity=setting.sparsity)
        pruning.finalize(model)
    began = _now()
    with stopwatch.record() as parts:
        compiled = sparsegen.compile(model, inputs, **options)
    total = tuple(after - before for after, before in zip(_now(), began, strict=True))
    machine = asdict(describe_machine(parse_target(setting.target), compiled.threads))
    machine["threads"] = compiled.threads
    return Times(setting, machine, {name: (each.seconds, each.cpu) for name, each in parts.items()}, total)


def measure_apart(setting: Setting) -> Times:
    """Compile a network in a process of its own."""
    command = [sys.executable, "-m", "bench.compile_time", "--one", json.dumps(asdict(setting))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # it has said why
        raise SystemExit(done.returncode)
    told = json.loads(done.stdout)
    parts = {name: tuple(seconds) for name, seconds in told["parts"].items()}
    return Times(setting, told["machine"], parts, tuple(told["total"]))


def table(times: Sequence[Times]) -> Table:
    """Parts by rows, compilations by columns: seconds of the clock / of CPU."""
    parts = list(dict.fromkeys(name for each in times for name in each.parts))
    shown = Table("part", title="seconds / CPU seconds")
    for each in times:
        shown.add_column(f"{each.setting.model}\nbatch {each.setting.batch}", justify="right")
    for name in parts:
        shown.add_row(name, *(_cell(each.parts.get(name)) for each in times))
    shown.add_section()
    shown.add_row("total", *(_cell(each.total) for each in times))
    shown.add_row("beside torch.export", *(_cell(_beside_export(each)) for each in times))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 1])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--target", default="native")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(asdict(measure(Setting(**json.loads(asked.one))))))
        return
    if asked.json:
        check_writable("--json", asked.json)
    settings = [
        Setting(model, batch, asked.threads, asked.target, asked.sparsity)
        for model in asked.models
        for batch in asked.batches
    ]
    times = [measure_apart(setting) for setting in settings]
    machine = times[0].machine
    console = Console(width=max(Console().width, 24 + 18 * len(times)))
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, for {machine['target']}; "
        f"{asked.sparsity:.0%} unstructured; Python {machine['python']}, torch {machine['torch']}, "
        f"TVM {machine['tvm']}"
    )
    console.print(table(times))
    if asked.json:
        write_file(asked.json, json.dumps([asdict(each) for each in times], indent=1))


def _now() -> Seconds:
    """The clock, and the CPU time of this process and of those that it has waited for."""
    return time.perf_counter(), sum(os.times()[:4])


def _beside_export(times: Times) -> Seconds:
    export = times.parts.get("torch.export", (0.0, 0.0))
    return times.total[0] - export[0], times.total[1] - export[1]


def _cell(seconds: Seconds | None) -> str:
    return "" if seconds is None else f"{seconds[0]:.2f} / {seconds[1]:.2f}"


if __name__ == "__main__":
    run(main)
