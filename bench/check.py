"""What got slower: a fixed set of layers and networks against the results that are kept of this kind of CPU.

    python -m bench.check [--keep] [--only GLOB] [--samples 9] [--results FOLDER]

Times differ from machine to machine, so ratios are compared: the best of torch over our code, sparse and
dense, timed in turn in one run. A ratio that falls by more than the noise is measured again, and counts as
slower if it stays so; the command then exits with 1. The noise of a row is the spread of both runs, and at
least 5 %. `--keep` writes the results in place of those that are kept, for the next check to compare with;
without results of this kind of CPU there is nothing to compare with, and the command exits with 2.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import sparsegen
from bench.command import make_folder, run
from sparsegen.compare.report import OURS, Race, Timing
from sparsegen.files import check_writable, write_file
from sparsegen.target import cpu_model, parse_target

RESULTS = Path(__file__).parent / "results"
LEAST_NOISE = 0.05
"""Ratios closer than this are the same: what one process differs from the next by."""

_FAMILIES = {"znver3": "zen3", "znver4": "zen4", "znver5": "zen5"}
"""Folders of results that bear another name than LLVM's of the CPU."""

_SLOWER, _NOTHING_COMPARED = 1, 2  # exit statuses


@dataclass(frozen=True)
class Case:
    """One comparison to run: `layers` is the shell pattern of those timed on their own, None for none."""

    model: str
    sparsity: float
    batch: int
    threads: int
    layers: str | None = None
    network: bool = True
    winograd: bool = True
    input_shape: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """In the rows' names."""
        direct = "" if self.winograd else " without Winograd"
        model = self.model.partition(":")[2] or self.model
        return f"{model} {self.sparsity:.0%} batch {self.batch} threads {self.threads}{direct}"


_ONE_A_STAGE = "features.stage[1-4].unit2.body.conv1.conv"
CASES = (
    Case("resnet18", 0.5, 16, 1, _ONE_A_STAGE),
    Case("resnet18", 0.5, 16, 1, _ONE_A_STAGE, network=False, winograd=False),
    Case("resnet18", 0.5, 1, 1, _ONE_A_STAGE),
    Case("resnet18", 0.5, 16, 2),
    Case("resnet18", 0.8, 16, 1, _ONE_A_STAGE),
    Case("mobilenet_w1", 0.8, 16, 1),
    Case("bench.models:bert", 0.5, 1, 1, input_shape=(128, 768)),
)


@dataclass(frozen=True)
class Row:
    """One ratio, the best of torch over our code; `noise` is the relative spread of the times behind it."""

    ratio: float
    noise: float

    def fell(self, kept: Row) -> bool:
        """Whether the ratio is lower than the kept one by more than the noise of both."""
        return self.ratio < kept.ratio * (1 - max(LEAST_NOISE, math.hypot(self.noise, kept.noise)))


def run_case(case: Case, *, samples: int) -> dict[str, Row]:
    """The rows of one comparison, by name."""
    found = sparsegen.compare(
        case.model,
        sparsity=case.sparsity,
        batch=case.batch,
        threads=case.threads,
        layers=case.layers,
        network=case.network,
        winograd=case.winograd,
        input_shape=case.input_shape,
        samples=samples,
    )
    races = {f"{case.name}, {layer.name}": layer.race for layer in found.layers}
    if found.end_to_end is not None:
        races[f"{case.name}, network"] = found.end_to_end.race
    return {name: row for where, race in races.items() for name, row in rows_of(where, race)}


def rows_of(where: str, race: Race) -> Iterator[tuple[str, Row]]:
    """The ratios of our sparse and our dense code over the best of torch."""
    torch = race.dense[race.best_torch]
    yield f"{where}, sparse", _over(torch, race.sparse)
    if OURS in race.dense:
        yield f"{where}, dense", _over(torch, race.dense[OURS])


def _over(torch: Timing, ours: Timing) -> Row:
    noise = math.hypot(*((each.p90_ms - each.p10_ms) / 2 / each.median_ms for each in (torch, ours)))
    return Row(torch.median_ms / ours.median_ms, noise)


def measure(cases: Sequence[Case], kept: dict[str, Row], *, samples: int, console: Console) -> dict[str, Row]:
    """The rows of all cases; a case of which a row fell is measured twice, and the better ones count."""
    rows: dict[str, Row] = {}
    for number, case in enumerate(cases, 1):
        console.print(f"[{number}/{len(cases)}] {case.name}", markup=False, highlight=False)
        found = run_case(case, samples=samples)
        if any(row.fell(kept[name]) for name, row in found.items() if name in kept):
            console.print(f"[{number}/{len(cases)}] {case.name}, again", markup=False, highlight=False)
            again = run_case(case, samples=samples)
            found = {name: max(row, again[name], key=lambda each: each.ratio) for name, row in found.items()}
        rows |= found
    return rows


def read(path: Path) -> dict[str, Row]:
    """The rows that are kept in a file; none where there is no file."""
    if not path.exists():
        return {}
    return {name: Row(**row) for name, row in json.loads(path.read_text())["rows"].items()}


def as_json(rows: dict[str, Row], *, samples: int) -> dict[str, Any]:
    """What is kept, with the machine that it comes from."""
    import torch

    return {
        "cpu": cpu_model(),
        "target": parse_target().name,
        "cores": parse_target().cores,
        "torch": torch.__version__,
        "samples": samples,
        "rows": {name: asdict(row) for name, row in rows.items()},
    }


def table(rows: dict[str, Row], kept: dict[str, Row]) -> Table:
    """Every ratio beside the kept one."""
    result = Table("best of torch over ours", "kept", "now", "change", "", title="bench-check")
    for name, row in rows.items():
        if name not in kept:
            result.add_row(name, "", f"{row.ratio:.2f}", "", "new")
            continue
        before = kept[name]
        verdict = "SLOWER" if row.fell(before) else "faster" if before.fell(row) else ""
        change = f"{row.ratio / before.ratio - 1:+.0%}"
        result.add_row(name, f"{before.ratio:.2f}", f"{row.ratio:.2f}", change, verdict)
    return result


def family() -> str:
    """The folder of results of this kind of CPU."""
    name = parse_target().name
    return _FAMILIES.get(name, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="keep the results for the next check")
    parser.add_argument("--only", default="*", metavar="GLOB", help="shell pattern of the cases to run")
    parser.add_argument("--samples", type=int, default=9, help="timed calls behind every median")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FOLDER", help="where results are kept"
    )
    options = parser.parse_args(arguments)
    console = Console()
    path = options.results / family() / "check.json"
    kept = read(path)
    cases = [case for case in CASES if fnmatch.fnmatchcase(case.name, options.only)]
    if not cases:
        console.print(
            f"no case matches {options.only!r}; there are: {', '.join(case.name for case in CASES)}"
        )
        return _NOTHING_COMPARED
    if options.keep:
        make_folder("--keep", path.parent)
        check_writable("--keep", path)
    rows = measure(cases, kept, samples=options.samples, console=console)
    console.print(table(rows, kept))
    if options.keep:
        write_file(path, json.dumps(as_json({**kept, **rows}, samples=options.samples), indent=1) + "\n")
        console.print(f"kept in {path}")
        return 0
    if not kept:
        console.print(f"no results of {family()} are kept, so nothing was compared: --keep keeps these")
        return _NOTHING_COMPARED
    slower = [name for name, row in rows.items() if name in kept and row.fell(kept[name])]
    ran = tuple(f"{case.name}, " for case in cases)
    missing = sorted(name for name in kept.keys() - rows.keys() if name.startswith(ran))
    console.print(f"{len(slower)} of {len(rows)} ratios fell by more than the noise", *slower, sep="\n  ")
    if missing:
        console.print("kept, but not measured any more:", *missing, sep="\n  ")
    return _SLOWER if slower or missing else 0


if __name__ == "__main__":
    run(main)
