"""Whole networks against every engine: models x sparsity x batch x threads, one table and one picture.

    python -m bench.race [--folder FOLDER] [--models resnet18 ...] [--sparsities 0 0.5 0.8 0.9]
        [--batches 16 1] [--threads 1 2] [--target haswell] [--samples 9] [--markdown FILE] [--png FILE]

Each race is one `sparsegen compare MODEL --no-layers --peers all`, whose JSON is kept in FOLDER: the same
command goes on where it stood, and one file deleted is one race run again. The ratio is the time of the
best rival, be it torch or another engine, over ours. For AVX2 (`--target haswell`) the rivals are held to
AVX2 as well where they let themselves: oneDNN in torch and OpenVINO, ATen, and DeepSparse, whose times hardly
change; ONNX Runtime does not.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from bench.command import make_folder, run
from sparsegen.compare.reading import read_comparison
from sparsegen.compare.report import Comparison
from sparsegen.errors import MeasurementError
from sparsegen.files import check_writable, replacing, write_file

BATCHES = {"vgg16": {16: 4}}
"""Batches of models whose activations are too large for the usual ones."""

MODELS = ("resnet18", "resnet50", "vgg16", "mobilenet_w1", "densenet121", "bench.models:bert")

SHAPES = {"bench.models:bert": "128x768"}
"""Inputs of models that do not tell theirs, without the batch."""

HELD = {"haswell": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "NM_ARCH": "avx2"}}
"""Environments that keep rivals from instructions that our target lacks."""

ENGINES = ("deepsparse", "openvino", "onnxruntime")


@dataclass(frozen=True)
class Cell:
    """One race to run."""

    model: str
    sparsity: float
    batch: int
    threads: int
    target: str

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        model = self.model.replace(":", ".")
        name = f"{model}-{self.sparsity:.0%}-batch{self.batch}-threads{self.threads}".replace("%", "")
        return name if self.target == "native" else f"{name}-{self.target}"

    def run(self, folder: Path, samples: int) -> Comparison:
        """The comparison, from the folder if it is there. Raises SparsegenError where it fails."""
        path = folder / f"{self.name}.json"
        if not path.exists():
            command = [sys.executable, "-m", "sparsegen", "compare", self.model, "--no-layers"]
            command += ["--peers", "all", "--sparsity", str(self.sparsity), "--batch", str(self.batch)]
            command += ["--threads", str(self.threads), "--samples", str(samples), "--json", str(path)]
            command += ["--target", self.target]
            if self.model in SHAPES:
                command += ["--input-shape", SHAPES[self.model]]
            status = subprocess.run(command, env={**os.environ, **HELD.get(self.target, {})}).returncode
            if status:  # the command has said why
                raise MeasurementError(f"race of {self.name} failed; those before it are kept in {folder}")
        return read_comparison(path)


def cells(arguments: argparse.Namespace) -> Iterator[Cell]:
    """The races asked for, model after model."""
    for model, batch, threads, sparsity in itertools.product(
        arguments.models, arguments.batches, arguments.threads, arguments.sparsities
    ):
        yield Cell(model, sparsity, BATCHES.get(model, {}).get(batch, batch), threads, arguments.target)


@dataclass(frozen=True)
class Result:
    """What one race came to: milliseconds by rival, `ours` and `ratio` over the best of them."""

    cell: Cell
    ours: float
    rivals: dict[str, float]
    best: str
    ratio: float
    absent: dict[str, str]

    @staticmethod
    def of(cell: Cell, found: Comparison) -> Result:
        """From a comparison of networks."""
        network = found.end_to_end
        assert network is not None
        race = network.race
        engines = {name: timing.median_ms for name, timing in race.engines.items()}
        return Result(
            cell=cell,
            ours=race.sparse.median_ms,
            rivals={**engines, "torch": race.dense[race.best_torch].median_ms},
            best=race.best_rival,
            ratio=race.over(race.best_rival),
            absent=network.absent,
        )

    def row(self) -> list[str]:
        """Its line of the table."""
        times = [self.ours, *(self.rivals.get(name) for name in (*ENGINES, "torch"))]
        return [
            self.cell.model,
            f"{self.cell.sparsity:.0%}",
            str(self.cell.batch),
            str(self.cell.threads),
            *("-" if ms is None else f"{ms:.4g}" for ms in times),
            self.best,
            f"{self.ratio:.2f}",
        ]


TITLES = ("model", "sparsity", "batch", "threads", "sparsegen", *ENGINES, "torch", "best rival", "ratio")


def print_table(results: Sequence[Result], console: Console) -> None:
    """Times in ms, and why engines are absent."""
    table = Table(*TITLES, title="ms; ratio: best rival over sparsegen")
    for result in results:
        table.add_row(*result.row())
    console.print(table)
    for reason in dict.fromkeys(f"{n}: {why}" for result in results for n, why in result.absent.items()):
        console.print(reason, markup=False)


def markdown(results: Sequence[Result]) -> str:
    """The table for a README."""
    lines = [TITLES, ["---"] * len(TITLES), *(result.row() for result in results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(results: Sequence[Result]) -> Figure:
    """The ratios, a bar a sparsity: models side by side, batches and threads below each other."""
    rows = sorted({(result.cell.batch == 1, result.cell.threads) for result in results})
    sparsities = sorted({result.cell.sparsity for result in results})
    figure = Figure(figsize=(9, 2.4 * len(rows)), layout="constrained")
    models = list(dict.fromkeys(result.cell.model for result in results))
    for axes, (single, threads) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        for place, sparsity in enumerate(sparsities):
            bars = {
                models.index(each.cell.model): each.ratio
                for each in results
                if (each.cell.batch == 1, each.cell.threads, each.cell.sparsity)
                == (single, threads, sparsity)
            }
            at = [model + (place - (len(sparsities) - 1) / 2) * 0.8 / len(sparsities) for model in bars]
            shown = axes.bar(at, bars.values(), 0.75 / len(sparsities), label=f"{sparsity:.0%} zeros")
            axes.bar_label(shown, fmt="%.2f", fontsize=7)
        axes.axhline(1, color="#333333", linewidth=0.8)
        axes.set_xticks(range(len(models)), models)
        batches = sorted({each.cell.batch for each in results if (each.cell.batch == 1) == single})
        axes.set_title(f"batch {' and '.join(map(str, batches))}, threads: {threads}", fontsize=9)
        axes.set_ylabel("best rival / sparsegen")
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(sparsities))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks/race"))
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0, 0.5, 0.8, 0.9])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 1])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--target", default="native", choices=["native", *HELD])
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--png", type=Path, default=Path("race.png"))
    arguments = parser.parse_args()
    make_folder("--folder", arguments.folder)
    for option, path in (("--markdown", arguments.markdown), ("--png", arguments.png)):
        if path is not None:
            check_writable(option, path)
    results = []
    for cell in cells(arguments):
        results.append(Result.of(cell, cell.run(arguments.folder, arguments.samples)))
        print(" ".join(results[-1].row()), flush=True)
    print_table(results, Console(width=160))
    if arguments.markdown is not None:
        write_file(arguments.markdown, markdown(results))
    with replacing(arguments.png) as new:
        draw(results).savefig(new, dpi=150)


if __name__ == "__main__":
    run(main)
