"""From the start of a process to the first result of a model in a file: in Python, in C, by other engines.

    python -m bench.cold_start [--model resnet18] [--sparsity 0.5] [--threads 2] [--samples 15]
        [--peers onnxruntime,openvino] [--json FILE]

The model is pruned without structure, compiled for a batch of 1 and this CPU, saved, and started from the
page cache: by `sparsegen_runtime` in a new Python, which imports numpy and ctypes alone, and by the C
example. Other engines read it as ONNX, each in a new Python of its own environment. All take turns; the clock
stops when a process says that its first result is there. Beside the times: bytes of the file, and of the
model's dense float32 weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import sparsegen_runtime
import torch
from rich.console import Console

import sparsegen
from bench.command import run
from sparsegen.compare.engines import PEERS, environment, export_onnx, find_engines, python_of
from sparsegen.compare.machine import describe_machine
from sparsegen.errors import EngineError, MeasurementError
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import own_model, resolve_model
from sparsegen.lowering.library import run_gcc
from sparsegen.noise import warn_of_noise
from sparsegen.options import ModelOptions, check_count
from sparsegen.pruning import finalize, magnitude
from sparsegen.target import parse_target

_NATIVE = Path(sparsegen_runtime.__file__).parents[1]
_PYTHON = """
import sys
import numpy as np
import sparsegen_runtime
model = sparsegen_runtime.load(sys.argv[1])
model(*(np.zeros(shape, np.float32) for shape in model.input_shapes))
print("there", flush=True)
"""
_PEER = """
import importlib.util, json, sys
import numpy as np
_, engine, model, threads, shapes = sys.argv
spec = importlib.util.spec_from_file_location("engine", engine)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.load(model, [np.zeros(shape, np.float32) for shape in json.loads(shapes)], int(threads))()
print("there", flush=True)
"""


@dataclass(frozen=True)
class Starter:
    """A command that computes one result, and the environment that it needs (None: ours).

    The clock stops when a line of its output is `last`; where that is None, when it closes its output.
    """

    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    last: str | None = "there"

    def seconds(self, folder: Path) -> float:
        """From its start to its first result. Raises MeasurementError where it fails."""
        with tempfile.TemporaryFile("w+") as errors:
            started = time.perf_counter()
            with subprocess.Popen(
                self.command,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environment,
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.rstrip() == self.last:
                        break
                elapsed = time.perf_counter() - started
                process.stdout.read()
            if process.returncode:
                errors.seek(0)
                raise MeasurementError(
                    f"{self.command[0]} ended with status {process.returncode}: "
                    f"{errors.read().strip()[-300:]}"
                )
        return elapsed


def prepare(name: str, sparsity: float) -> tuple[Any, tuple[Any, ...]]:
    """A model, pruned without structure, and inputs for it, of a batch of 1."""
    model, inputs = resolve_model(name, None, ModelOptions(batch=1))
    model = own_model(model, inputs, in_place=True)
    magnitude(model, sparsity=sparsity)
    finalize(model)
    return model, inputs


def example(folder: Path) -> Path:
    """The example in C, built. Raises SparsegenError where gcc is not there, or fails."""
    program, library = folder / "run", Path(sparsegen_runtime.__file__).parent
    flags = [f"-I{library / 'include'}", f"-L{library}", f"-Wl,-rpath,{library}"]
    source = str(_NATIVE / "examples" / "run.c")
    run_gcc("the example", ["-O2", source, "-o", str(program), *flags, "-lsparsegen_runtime"])
    return program


def peers(
    engines: Mapping[str, Path], model: Any, inputs: tuple[Any, ...], threads: int, folder: Path
) -> tuple[dict[str, Starter], dict[str, str]]:
    """How engines are started on a model, which is written to a folder, and why others are not."""
    found, absent = dict[str, Starter](), dict[str, str]()
    if engines:
        export_onnx(model, inputs, folder / "model.onnx")
    shapes = json.dumps([list(each.shape) for each in inputs])
    for name, place in engines.items():
        try:
            python = str(python_of(place))
        except EngineError as error:
            absent[name] = str(error)
            continue
        asked = [str(place / "engine.py"), str(folder / "model.onnx"), str(threads), shapes]
        found[name] = Starter([python, "-c", _PEER, *asked], environment(threads))
    return found, absent


def measure(starters: Mapping[str, Starter], samples: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each, in turn, after a first start that reads files."""
    found: dict[str, list[float]] = {name: [] for name in starters}
    for sample in range(samples + 1):
        for name, starter in starters.items():
            seconds = starter.seconds(folder)
            if sample:
                found[name].append(seconds)
    return found


def parsed() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description="From the start of a process to the first result.")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--peers", default="onnxruntime,openvino", metavar="NAMES", help='"": none')
    parser.add_argument("--peers-folder", type=Path, default=PEERS, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return parser.parse_args()


def main() -> None:
    options, console = parsed(), Console()
    check_count("--samples", options.samples, 2)
    if options.json is not None:
        check_writable("--json", options.json)
    engines = find_engines(options.peers.split(","), options.peers_folder) if options.peers else {}
    warn_of_noise()
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        model, inputs = prepare(options.model, options.sparsity)
        saved = sparsegen.compile(model, inputs, threads=options.threads).save(folder / "model.sparsegen")
        others, absent = peers(engines, model, inputs, options.threads, folder)
        starters = {
            "python": Starter([sys.executable, "-c", _PYTHON, str(saved.path)]),
            "c": Starter([str(example(folder)), str(saved.path)], last=None),
            **others,
        }
        found = measure(starters, options.samples, folder)
    dense = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    for starter, times in found.items():
        tenth, *_, ninetieth = quantiles(times, n=10)
        spread = f"{1e3 * tenth:.1f} to {1e3 * ninetieth:.1f}"
        console.print(f"{starter}: {1e3 * median(times):.1f} ms, {spread}", highlight=False)
    for engine, why in absent.items():
        console.print(f"{engine} took no part: {why}", highlight=False)
    share = saved.file_bytes / dense
    console.print(f"file: {saved.file_bytes / 1e6:.1f} MB, {share:.2f} of the dense weights", highlight=False)
    if options.json is not None:
        told = {
            "machine": asdict(describe_machine(parse_target(), options.threads)),
            "model": options.model,
            "sparsity": options.sparsity,
            "seconds": found,
            "absent": absent,
            "file_bytes": saved.file_bytes,
            "dense_bytes": dense,
        }
        write_file(options.json, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
