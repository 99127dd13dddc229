"""Whether networks get the same kernels and compute the same bits as at another commit.

    python -m bench.same --against COMMIT [MODEL ...] [--batches 1 16] [--targets native haswell]
        [--sparsities 0.5] [--json FILE]

Both compile the same network, pruned at random places, and call it on the same numbers. Told apart are the
choices (kernel, format and schedule of every layer) and the results, bit for bit. The other commit is checked
out into a temporary folder, and runs with this environment's packages. Ends with 1 where something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __package__:
    from bench.command import run

MODELS = ("resnet18", "resnet50", "vgg16", "mobilenet_w1", "densenet121", "bench.models:bert")
"""The networks of bench/race.py, which this may not import: it runs with another commit's packages."""
SHAPES = {"bench.models:bert": (128, 768)}
_ROOT = Path(__file__).resolve().parents[1]
_NATIVE = ("-std=gnu11", "-O2", "-shared", "-fPIC", "-Wl,-z,undefs")
_FAILED = 2


@dataclass(frozen=True)
class Setting:
    """One network, compiled on one thread for a batch and a CPU, as `sparsegen.compile` takes them."""

    model: str
    batch: int
    target: str
    sparsity: float


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of the choices and of the results, and the number of layers."""

    layers: int
    choices: str
    results: str


def fingerprint(setting: Setting) -> Fingerprint:
    """Compile and call a network with the package that this process imports."""
    import torch
    from torch.utils import _pytree

    import sparsegen
    from sparsegen import pruning
    from sparsegen.frontend import load_model

    torch.manual_seed(0)
    model, inputs = load_model(setting.model, batch=setting.batch, input_shape=SHAPES.get(setting.model))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale, shift = (0.05, 0.0) if parameter.dim() > 1 else (0.5, 1.0)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + shift)
    pruning.prune(model, structure="unstructured", sparsity=setting.sparsity)
    pruning.finalize(model)
    given = tuple(torch.randn(each.shape, generator=generator) for each in inputs)
    compiled = sparsegen.compile(model, given, threads=1, target=setting.target)
    choices = [(layer.name, layer.kernel, layer.format, layer.schedule) for layer in compiled.layers]
    results = _pytree.tree_leaves(compiled(*given))
    return Fingerprint(
        layers=len(choices),
        choices=_hash(json.dumps(choices, sort_keys=True).encode()),
        results=_hash(b"".join(each.numpy().tobytes() for each in results)),
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary folder with the sources of a commit, their compiled part made.

    Raises SystemExit where there is no such commit, or gcc fails.
    """
    with tempfile.TemporaryDirectory(prefix="sparsegen-same-") as folder:
        try:
            archive = _output("git", "-C", str(_ROOT), "archive", commit, "sparsegen", "bench", "schedules")
            subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True, capture_output=True)
            (Path(folder) / "schedules").rename(Path(folder) / "sparsegen" / "schedules")
            runtime = Path(folder) / "sparsegen" / "runtime"
            _output("gcc", *_NATIVE, "-o", str(runtime / "_native.so"), str(runtime / "native.c"))
        except subprocess.CalledProcessError as error:
            print(f"error: {commit} cannot be checked out: {error.stderr.decode().strip()}", file=sys.stderr)
            raise SystemExit(_FAILED) from error
        yield Path(folder)


def _output(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def fingerprint_in(folder: Path, setting: Setting) -> Fingerprint:
    """The fingerprint that the sources in a folder give.

    Raises SystemExit where they fail, with what they said.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--one", json.dumps(asdict(setting))],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"error: {setting} at {folder}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        raise SystemExit(_FAILED)
    return Fingerprint(**json.loads(done.stdout.splitlines()[-1]))


def compare(settings: Sequence[Setting], commit: str) -> list[dict[str, Any]]:
    """A record a setting: both fingerprints, and whether choices and results are the same."""
    records = []
    with checked_out(commit) as folder:
        for setting in settings:
            here, there = (fingerprint_in(root, setting) for root in (_ROOT, folder))
            same = {name: getattr(here, name) == getattr(there, name) for name in ("choices", "results")}
            told = ", ".join(f"{name} {'same' if value else 'DIFFER'}" for name, value in same.items())
            print(
                f"{setting.model}, batch {setting.batch}, {setting.target}, {setting.sparsity:.0%}: "
                f"{here.layers} layers, {told}",
                flush=True,
            )
            verdicts = {f"same_{name}": value for name, value in same.items()}
            records.append({**asdict(setting), "here": asdict(here), "there": asdict(there), **verdicts})
    return records


def main() -> int:
    """Read the arguments, compare, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--against", default="HEAD", metavar="COMMIT")
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 16))
    parser.add_argument("--targets", nargs="+", default=("native", "haswell"))
    parser.add_argument("--sparsities", nargs="+", type=float, default=(0.5,))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(asdict(fingerprint(Setting(**json.loads(asked.one))))))
        return 0
    from sparsegen.files import check_writable, write_file

    if asked.json is not None:
        check_writable("--json", asked.json)
    settings = [
        Setting(*each)
        for each in itertools.product(asked.models, asked.batches, asked.targets, asked.sparsities)
    ]
    records = compare(settings, asked.against)
    if asked.json is not None:
        write_file(asked.json, json.dumps({"against": asked.against, "settings": records}, indent=2) + "\n")
    return int(not all(each["same_choices"] and each["same_results"] for each in records))


if __name__ == "__main__":
    if __package__:
        run(main)
    sys.exit(main())
