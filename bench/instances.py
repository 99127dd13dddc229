"""Two instances of one thread against one of two threads, of a model in a file: latency, throughput, memory.

    python -m bench.instances [--model resnet18] [--sparsity 0.5] [--seconds 10] [--rounds 3] [--json FILE]

The model is pruned without structure and compiled for a batch of 1, this CPU, and one and two threads, into
one file. `sparsegen bench` then measures both in turn; medians of the rounds sum it up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

import sparsegen
from bench.cold_start import prepare
from bench.command import run
from sparsegen.errors import MeasurementError
from sparsegen.files import check_writable, write_file
from sparsegen.options import check_count

KINDS = {
    "two instances of one thread": "--instances 2 --threads 1",
    "one instance of two threads": "--instances 1 --threads 2",
}


def measure(path: Path, kind: str, seconds: float, found: Path) -> dict[str, Any]:
    """What `sparsegen bench` tells of a kind. Raises MeasurementError where it fails, having said why."""
    command = [sys.executable, "-m", "sparsegen", "bench", str(path), *KINDS[kind].split()]
    status = subprocess.run(
        [*command, "--seconds", f"{seconds}", "--json", str(found)], check=False
    ).returncode
    if status:
        raise MeasurementError(f"`sparsegen bench` of {kind} ended with status {status}")
    told: dict[str, Any] = json.loads(found.read_text()) | {"path": path.name}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description="Two instances of one thread against one of two threads.")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    options, console = parser.parse_args(), Console()
    if options.json is not None:
        check_writable("--json", options.json)
    check_count("--rounds", options.rounds, 1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.sparsegen"
        model, inputs = prepare(options.model, options.sparsity)
        with torch.no_grad():
            sparsegen.save(path, [sparsegen.compile(model, inputs, threads=threads) for threads in (1, 2)])
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind, reports in found.items():
                reports.append(measure(path, kind, options.seconds, Path(name) / "found.json"))
    for kind, reports in found.items():
        speed = median(report["calls_per_second"] for report in reports)
        latency = median(report["latency_ms"]["p50"] for report in reports)
        memory = reports[-1]["memory"]
        console.print(
            f"{kind}: {speed:.1f} calls/s, p50 {latency:.2f} ms, memory {memory['first'] / 1e6:.0f} MB, "
            f"{memory['further'] / 1e6:.1f} MB for a further instance",
            highlight=False,
            soft_wrap=True,
        )
    if options.json is not None:
        told = {"model": options.model, "sparsity": options.sparsity, "rounds": found}
        write_file(options.json, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
