"""From the start of a process to the first result of a model in a file, in Python and in C.

    python -m bench.cold_start [--model resnet18] [--sparsity 0.5] [--threads 2] [--samples 15] [--json FILE]

The model is pruned without structure, compiled for a batch of 1 and this CPU, saved, and started from the
page cache: by `sparsegen_runtime` in a new Python, which imports numpy and ctypes alone, and by the C
example. Both take turns. Beside the times: bytes of the file, and of the model's dense float32 weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles

import sparsegen_runtime
import torch
from rich.console import Console

import sparsegen
from bench.command import run
from sparsegen.compare.machine import describe_machine
from sparsegen.errors import MeasurementError
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import own_model, resolve_model
from sparsegen.lowering.library import run_gcc
from sparsegen.noise import warn_of_noise
from sparsegen.options import ModelOptions
from sparsegen.pruning import finalize, magnitude
from sparsegen.target import parse_target

_NATIVE = Path(sparsegen_runtime.__file__).parents[1]
_PYTHON = """
import sys
import numpy as np
import sparsegen_runtime
model = sparsegen_runtime.load(sys.argv[1])
model(*(np.zeros(shape, np.float32) for shape in model.input_shapes))
"""


def save(options: argparse.Namespace, path: Path) -> int:
    """Write the model's file; bytes of its weights as they were."""
    model, inputs = resolve_model(options.model, None, ModelOptions(batch=1))
    model = own_model(model, inputs, in_place=True)
    magnitude(model, sparsity=options.sparsity)
    finalize(model)
    with torch.no_grad():
        sparsegen.compile(model, inputs, threads=options.threads).save(path)
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def example(folder: Path) -> Path:
    """The example in C, built. Raises SparsegenError where gcc is not there, or fails."""
    program, library = folder / "run", Path(sparsegen_runtime.__file__).parent
    flags = [f"-I{library / 'include'}", f"-L{library}", f"-Wl,-rpath,{library}"]
    source = str(_NATIVE / "examples" / "run.c")
    run_gcc("the example", ["-O2", source, "-o", str(program), *flags, "-lsparsegen_runtime"])
    return program


def seconds(command: Sequence[str], folder: Path) -> float:
    """Of a process from its start to its end. Raises MeasurementError where it fails."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise MeasurementError(
            f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-300:]}"
        )
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description="From the start of a process to the first result.")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.json is not None:
        check_writable("--json", options.json)
    warn_of_noise()
    console, found = Console(), dict[str, list[float]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "model.sparsegen"
        dense = save(options, file)
        commands = {
            "python": [sys.executable, "-c", _PYTHON, str(file)],
            "c": [str(example(folder)), str(file)],
        }
        for _ in range(options.samples + 1):  # the first one reads files
            for starter, command in commands.items():
                found.setdefault(starter, []).append(seconds(command, folder))
        size = file.stat().st_size
    kept = {starter: times[1:] for starter, times in found.items()}
    for starter, times in kept.items():
        tenth, *_, ninetieth = quantiles(times, n=10)
        console.print(
            f"{starter}: {1e3 * median(times):.1f} ms, {1e3 * tenth:.1f} to {1e3 * ninetieth:.1f}",
            highlight=False,
        )
    console.print(f"file: {size / 1e6:.1f} MB, {size / dense:.2f} of the dense weights", highlight=False)
    if options.json is not None:
        told = {
            "machine": asdict(describe_machine(parse_target(), options.threads)),
            "model": options.model,
            "sparsity": options.sparsity,
            "seconds": kept,
            "file_bytes": size,
            "dense_bytes": dense,
        }
        write_file(options.json, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
