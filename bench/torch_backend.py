"""What torch.compile with our backend costs: a call beside `CompiledModel`, a first result in a process.

    python -m bench.torch_backend [--model resnet18] [--batch 1] [--threads N] [--sparsity 0.6]
        [--samples 500] [--no-start] [--json FILE]

The overhead of a call is timed with the model's own work left out, on both sides: what is left is guards of
Dynamo's, the check of the weights, and the way to the model. Then the whole calls take turns. The first
result is timed in a first process, which compiles, and in a second one, which finds the model in the compile
cache: from the call of torch.compile on, and from the start of the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import sparsegen
import sparsegen.torch_backend
from bench.command import run
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.timing import time_in_turn
from sparsegen.errors import MeasurementError, OptionError
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import own_model, resolve_model
from sparsegen.noise import warn_of_noise
from sparsegen.options import ModelOptions, check_count
from sparsegen.pruning import finalize, magnitude
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import parse_target


@dataclass(frozen=True)
class Overhead:
    """Medians of calls: microseconds without the model's own work, milliseconds with it."""

    direct_us: float
    torch_compile_us: float
    direct_ms: float
    torch_compile_ms: float

    @property
    def over_us(self) -> float:
        """Microseconds that torch.compile adds to a call of a CompiledModel."""
        return self.torch_compile_us - self.direct_us


@dataclass(frozen=True)
class FirstResult:
    """Seconds to the first result, from the call of torch.compile on, and from the start of the process."""

    call_s: float
    process_s: float


def prepare(name: str, batch: int, sparsity: float) -> tuple[Any, tuple[Any, ...]]:
    """A model, pruned without structure, and inputs for it."""
    model, inputs = resolve_model(name, None, ModelOptions(batch=batch))
    model = own_model(model, inputs, in_place=True)
    if not isinstance(model, torch.nn.Module):
        raise OptionError(f"--model {name}: torch.compile takes a module, and this is a program")
    magnitude(model, sparsity=sparsity)
    finalize(model)
    return model, inputs


def through_torch(model: Any, threads: int, folder: Path | None = None) -> Any:
    """The model in torch.compile; what cannot be compiled is an error."""
    options = {"threads": threads, "fallback": "error", "cache_dir": folder}
    return torch.compile(model, backend="sparsegen", options=options)


def measure_overhead(model: Any, inputs: tuple[Any, ...], threads: int, samples: int) -> Overhead:
    """What calls of the model take, both ways, on this machine."""
    with torch.no_grad():
        direct, compiled = sparsegen.compile(model, inputs, threads=threads), through_torch(model, threads)
        result = direct(*inputs)
        torch.testing.assert_close(compiled(*inputs), result, rtol=1e-3, atol=1e-3)
        calls = {"direct": lambda: direct(*inputs), "torch.compile": lambda: compiled(*inputs)}
        whole = time_in_turn(calls, samples=min(samples, 50))
        with mock.patch.object(CompiledModel, "_run_on", return_value=(result,)):
            idle = {name: _median_us(call, samples) for name, call in calls.items()}
    return Overhead(
        idle["direct"], idle["torch.compile"], whole["direct"].median_ms, whole["torch.compile"].median_ms
    )


def _median_us(call: Callable[[], Any], samples: int) -> float:
    def once() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return statistics.median(once() for _ in range(samples)) * 1e6


def first_result(asked: argparse.Namespace, folder: Path) -> FirstResult:
    """The first result of a new process with this folder as its compile cache.

    Raises MeasurementError where it fails.
    """
    options = ["--model", asked.model, "--batch", str(asked.batch), "--threads", str(asked.threads)]
    options += ["--sparsity", str(asked.sparsity), "--folder", str(folder)]
    command = [sys.executable, "-m", "bench.torch_backend", *options]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    elapsed = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise MeasurementError(f"the process ended with status {done.returncode}: {last}")
    return FirstResult(float(done.stdout.splitlines()[-1]), elapsed)


def _first_call(asked: argparse.Namespace) -> float:
    """Seconds of the first call in this process."""
    model, inputs = prepare(asked.model, asked.batch, asked.sparsity)
    with torch.no_grad():
        started = time.perf_counter()
        through_torch(model, asked.threads, asked.folder)(*inputs)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sparsity", type=float, default=0.6)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--no-start", action="store_true", help="leave the first results out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    for name in ("batch", "threads", "samples"):
        check_count(f"--{name}", getattr(asked, name), 1)
    if asked.folder:
        print(_first_call(asked))
        return
    if asked.json:
        check_writable("--json", asked.json)
    noise = warn_of_noise()
    model, inputs = prepare(asked.model, asked.batch, asked.sparsity)
    overhead = measure_overhead(model, inputs, asked.threads, asked.samples)
    print(
        f"{asked.model}: torch.compile adds {overhead.over_us:.0f} us to a call, without the model's work "
        f"({overhead.torch_compile_us:.0f} us over {overhead.direct_us:.0f} us); whole calls: "
        f"{overhead.torch_compile_ms:.2f} ms, CompiledModel {overhead.direct_ms:.2f} ms"
    )
    starts = []
    if not asked.no_start:
        with tempfile.TemporaryDirectory() as folder:
            starts = [first_result(asked, Path(folder)) for _ in range(2)]
        first, second = starts
        print(
            f"first result {first.call_s:.2f} s in the first process, {second.call_s:.2f} in the second: "
            f"{first.call_s / second.call_s:.1f} times sooner; from the start of the processes "
            f"{first.process_s:.2f} and {second.process_s:.2f} s"
        )
    if asked.json:
        machine = asdict(describe_machine(parse_target("native"), asked.threads))
        names = ("model", "batch", "threads", "sparsity", "samples")
        setting = {name: getattr(asked, name) for name in names}
        times = asdict(overhead) | {"over_us": overhead.over_us}
        told = {"overhead": times, "first": [asdict(each) for each in starts]}
        record = {"machine": machine, "noise": noise, **setting, **told}
        write_file(asked.json, json.dumps(record, indent=1))


if __name__ == "__main__":
    run(main)
