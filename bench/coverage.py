"""Which networks compile, what of them is ours, and how fast they are: one network a family.

    python -m bench.coverage [--only GLOB] [--samples 5] [--sparsity 0.6] [--no-times] [--torch-compile]
        [--json FILE]

Every network is pruned at random places, compiled for one thread and batch 1 in a process of its own, called
in turn with eager torch, and compared with torch in float64. Of a network that does not compile, the table
tells whether torch.export traces it: what it does not, nobody here can.

`--torch-compile` goes through `torch.compile` and our backend, and takes no times: a network counts as
compiled where some graph of it is, and the table tells why others are not.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.command import run
from bench.families import Example, families
from sparsegen.errors import SparsegenError, first_line
from sparsegen.files import check_writable, write_file

AGREES = 1e-3
"""The largest error, relative to the largest result, of a network that agrees with float64."""
SLOW = 1.10
"""Times of eager torch's past which a network is an exception."""
_PATIENCE = 900  # seconds that one network may take


@dataclass(frozen=True)
class Row:
    """What became of one network; milliseconds are medians, None where nothing was timed.

    `layers` are kernels of ours, `torch` the calls of every operator that torch computes, `share` ours of the
    time. `message` tells why a network is not compiled, and `traced` whether torch.export traces it.
    """

    family: str
    model: str
    traced: bool = True
    compiled: bool = False
    layers: int = 0
    torch: dict[str, int] = field(default_factory=dict)
    error: float | None = None
    share: float | None = None
    ms: float | None = None
    eager_ms: float | None = None
    compile_seconds: float | None = None
    message: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the results are torch's in float64."""
        return self.error is not None and self.error <= AGREES

    @property
    def ratio(self) -> float | None:
        """Our time over eager torch's."""
        return None if self.ms is None or self.eager_ms is None else self.ms / self.eager_ms


def measure(name: str, *, samples: int, sparsity: float) -> Row:
    """The row of one family, compiled and called in this process; `samples` 0 times nothing."""
    import torch

    import sparsegen
    from sparsegen.compare.accuracy import accuracy
    from sparsegen.compare.peers import network_reference

    family = families()[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, (args, kwargs) = family.make()
            _prune(model, sparsity)
            began = time.perf_counter()
            compiled = sparsegen.compile(model, args, kwargs, threads=1)
            seconds = time.perf_counter() - began
    except SparsegenError as error:
        return Row(name, family.model, traced=_traces(name), message=first_line(error))
    torch.set_num_threads(1)
    with torch.no_grad():
        error = accuracy(compiled(*args, **kwargs), network_reference(model, args, kwargs)).relative_error
        row = Row(
            name,
            family.model,
            compiled=True,
            layers=sum(not layer.operator for layer in compiled.layers),
            torch=dict(Counter(layer.operator for layer in compiled.layers if layer.operator)),
            error=error,
            compile_seconds=seconds,
        )
        return row if samples == 0 else _timed(row, model, compiled, (args, kwargs), samples)


def measure_in_torch_compile(name: str, *, sparsity: float) -> Row:
    """As `measure`, through torch.compile: the layers are those of all graphs that Dynamo makes."""
    import torch

    from sparsegen.compare.accuracy import accuracy
    from sparsegen.compare.peers import network_reference
    from sparsegen.torch_backend import report

    family = families()[name]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model, (args, kwargs) = family.make()
        _prune(model, sparsity)
        began = time.perf_counter()
        result = torch.compile(model, backend="sparsegen", options={"threads": 1})(*args, **kwargs)
        seconds = time.perf_counter() - began
        error = accuracy(result, network_reference(model, args, kwargs)).relative_error
    layers = [layer for graph in report() for made in graph.compilations for layer in made.layers]
    return Row(
        name,
        family.model,
        compiled=bool(layers),
        layers=sum(not layer.operator for layer in layers),
        torch=dict(Counter(layer.operator for layer in layers if layer.operator)),
        error=error,
        compile_seconds=seconds,
        message="; ".join(reason for graph in report() for reason in graph.fallbacks),
    )


def _timed(row: Row, model: Any, compiled: Any, example: Example, samples: int) -> Row:
    from sparsegen.compare.timing import time_in_turn
    from sparsegen.compare.torch_part import torch_part

    args, kwargs = example
    calls = {"ours": lambda: compiled(*args, **kwargs), "eager": lambda: model(*args, **kwargs)}
    times = time_in_turn(calls, samples=samples)
    part = torch_part(compiled, args, kwargs, samples=samples)
    return replace(
        row,
        share=1.0 if part is None else 1 - part.share,
        ms=times["ours"].median_ms,
        eager_ms=times["eager"].median_ms,
    )


def _prune(model: Any, sparsity: float) -> None:
    """Prune what can be pruned, linear layers too: a few networks have too little."""
    from sparsegen import pruning
    from sparsegen.errors import PruningError

    try:
        pruning.prune(model, structure="unstructured", sparsity=sparsity, linear=True)
    except PruningError:
        return
    pruning.finalize(model)


def _traces(name: str) -> bool:
    """Whether torch.export traces a family's network; one that cannot be made it does not."""
    import torch

    try:
        model, (args, kwargs) = families()[name].make()
        torch.export.export(model, args, dict(kwargs))
    except Exception:  # whatever the model's code or the tracer raises
        return False
    return True


def measure_apart(name: str, *, samples: int, sparsity: float, torch_compile: bool = False) -> Row:
    """As `measure`, in a process of its own; one that ends otherwise gives a row that tells so."""
    options = ["--samples", str(samples), "--sparsity", str(sparsity)]
    options += ["--torch-compile"] if torch_compile else []
    command = [sys.executable, "-m", "bench.coverage", "--one", name, *options]
    model = families()[name].model
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Row(name, model, message=f"took more than {_PATIENCE} s")
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return Row(name, model, message=f"ended with status {done.returncode}: {last}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def table(rows: Sequence[Row]) -> Table:
    """A line a family."""
    shown = Table("family", "model", title="coverage")
    for column in ("ours", "torch's", "share ours", "ms", "eager ms", "over eager", "error"):
        shown.add_column(column, justify="right")
    shown.add_column("torch computes, or why it does not compile", max_width=60)
    for row in rows:
        operators = ", ".join(f"{name} x{count}" for name, count in row.torch.items())
        shown.add_row(
            row.family,
            row.model,
            str(row.layers) if row.compiled else "",
            str(sum(row.torch.values())) if row.compiled else "",
            "" if row.share is None else f"{row.share:.0%}",
            "" if row.ms is None else f"{row.ms:.2f}",
            "" if row.eager_ms is None else f"{row.eager_ms:.2f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.error is None else f"{row.error:.1e}",
            "; ".join(filter(None, (operators, ("" if row.traced else "not traced: ") + row.message))),
        )
    return shown


def summary(rows: Sequence[Row]) -> list[str]:
    """The figures that count, each with those that fall short by name."""
    traced = [row for row in rows if row.traced]
    agreeing = [row for row in traced if row.compiled and row.agrees]
    whole = [row for row in agreeing if not row.torch]
    timed = [row for row in agreeing if row.ratio is not None]
    slow = [row for row in timed if row.ratio is not None and row.ratio > SLOW]
    lost = [row.family for row in traced if row not in agreeing]
    of = f"of {len(traced)} families that torch.export traces"
    return [
        f"{len(agreeing)} {of} compile and agree within {AGREES:g}{_named(lost)}",
        f"{len(whole)} {of} have no operator in torch",
        f"{len(timed) - len(slow)} of {len(timed)} take at most {SLOW} of eager torch's time"
        f"{_named([f'{row.family} {row.ratio:.2f}' for row in slow])}",
    ]


def _named(names: Sequence[str]) -> str:
    return f"; not: {', '.join(names)}" if names else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="*", help="shell pattern of families, such as 'transformers*'")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--sparsity", type=float, default=0.6)
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--torch-compile", action="store_true", help="through torch.compile; takes no times")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    samples = 0 if asked.no_times or asked.torch_compile else asked.samples
    if asked.one:
        if asked.torch_compile:
            row = measure_in_torch_compile(asked.one, sparsity=asked.sparsity)
        else:
            row = measure(asked.one, samples=samples, sparsity=asked.sparsity)
        print(json.dumps(asdict(row)))
        return
    names = [name for name in families() if fnmatch.fnmatchcase(name, asked.only)]
    if not names:
        parser.error(f"--only {asked.only}: no family is called so; there are {', '.join(families())}")
    if asked.json:
        check_writable("--json", asked.json)
    console = Console()
    rows = []
    for number, name in enumerate(names, 1):
        console.print(f"[{number}/{len(names)}] {name}", markup=False, highlight=False)
        rows.append(
            measure_apart(name, samples=samples, sparsity=asked.sparsity, torch_compile=asked.torch_compile)
        )
    wide = Console(width=max(console.width, 200))
    wide.print(table(rows))
    for line in summary(rows):
        wide.print(line, markup=False, highlight=False)
    if asked.json:
        write_file(asked.json, json.dumps(_as_json(rows, samples, asked.sparsity), indent=1))


def _as_json(rows: Sequence[Row], samples: int, sparsity: float) -> dict[str, Any]:
    from sparsegen.compare.machine import describe_machine
    from sparsegen.target import parse_target

    machine = asdict(describe_machine(parse_target("native"), 1))
    setting = {"batch": 1, "threads": 1, "sparsity": sparsity, "samples": samples}
    shown = [asdict(row) | {"ratio": row.ratio} for row in rows]
    return {"machine": machine, **setting, "summary": summary(rows), "families": shown}


if __name__ == "__main__":
    run(main)
