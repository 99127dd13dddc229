"""Costs predicted of networks that were not measured, against their measured ones.

    python -m bench.cost_prediction --measure     # add what is missing to the file of measurements
    python -m bench.cost_prediction --fit         # leave each family out in turn, and tell the errors
    python -m bench.cost_prediction --quick       # both, with a few networks: minutes

Without --measure and --fit it does both. Measuring goes on where it was stopped. With --teach, what is
measured is also kept where plans look for it: `cost_operators(..., measure=False)` then predicts here.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.command import make_folder, run
from bench.cost_evaluation import LONG, Score, Statistic, by_family, held_out, score
from bench.cost_measurements import (
    NETWORKS,
    QUICK_SPARSITIES,
    ROUNDS,
    SPARSITIES,
    THREADS,
    Measurement,
    Network,
    append,
    measure,
    read,
)
from sparsegen.compare.machine import describe_machine
from sparsegen.cpuinfo import available_cores
from sparsegen.devices import make_device
from sparsegen.errors import OptionError
from sparsegen.files import check_writable, write_file
from sparsegen.hetero.costs.cost_cache import CostCache, default_path
from sparsegen.hetero.costs.layer_costs import setting, versions
from sparsegen.hetero.costs.training import keep
from sparsegen.hetero.plans.plan import OURS, TORCH
from sparsegen.noise import warn_of_noise
from sparsegen.progress import Steps, shown
from sparsegen.target import parse_target

BAR_ERROR, BAR_RANK = 0.15, 0.95
QUICK_SAMPLES = 7


def measure_missing(
    path: Path, networks: Sequence[Network], sparsities: Sequence[float], samples: int, console: Console
) -> None:
    """Measure what the file lacks of this machine, these versions."""
    cpu, known = parse_target().name, {each.key for each in read(path)}
    threads = [count for count in THREADS if count <= available_cores()]
    missing = [
        (network, sparsity)
        for network in networks
        for sparsity in sparsities
        if any((network.name, sparsity, count, cpu, versions()) not in known for count in threads)
    ]
    with shown(console) as listen:
        steps = Steps(listen, total=len(missing))
        for network, sparsity in missing:
            steps.begin(f"measuring {network.name}, {sparsity:.0%} zeros")
            append(path, measure(network, sparsity, threads, cpu=cpu, versions=versions(), samples=samples))


def teach(measurements: Sequence[Measurement]) -> None:
    """Keep the measured calls in this user's cache of costs."""
    cache = CostCache(default_path())
    for each in measurements:
        device = make_device("cpu", "cpu", {"cores": list(range(each.threads))})
        for implementation, calls in each.calls.items():
            seconds = {call.call.name: sum(call.medians) / len(call.medians) for call in calls}
            keep(cache, setting(device, implementation), [call.call for call in calls], seconds)


def evaluate(
    measurements: Sequence[Measurement], statistic: Statistic, console: Console
) -> list[dict[str, Any]]:
    """A row for each implementation, number of threads and granularity."""
    rows = []
    settings = [(how, count) for how in (OURS, TORCH) for count in sorted({m.threads for m in measurements})]
    families = {each.family for each in measurements}
    with shown(console) as listen:
        steps = Steps(listen, total=len(settings) * len(families))
        for implementation, threads in settings:
            mine = [each for each in measurements if each.threads == threads]
            told = f"{implementation}, threads {threads}: without "

            def begin(family: str, told: str = told) -> None:
                steps.begin(told + family)

            found = held_out(mine, implementation, begin, statistic)
            for granularity, operators in found.items():
                whole = score(operators)
                if whole is not None:
                    names = {"implementation": implementation, "threads": threads, "granularity": granularity}
                    families_of = {name: asdict(each) for name, each in by_family(operators).items()}
                    rows.append({**names, **asdict(whole), "families": families_of})
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows, then the families of the layers."""
    shown_rows = Table(title=f"operators above {LONG * 1e6:.0f} us of networks whose family was left out")
    for heading in ("implementation", "threads", "granularity", "family left out"):
        shown_rows.add_column(heading)
    for heading in ("operators", "ms", "error", "rank", "repeated", "rank", "rough", "rank", "unknown"):
        shown_rows.add_column(heading, justify="right")
    for row in rows:
        names = (row["implementation"], str(row["threads"]), row["granularity"])
        shown_rows.add_row(*names, "each", *_cells(Score(**{k: row[k] for k in Score.__annotations__})))
    for row in rows:
        if row["granularity"] == "layer":
            for family, found in row["families"].items():
                names = (row["implementation"], str(row["threads"]), row["granularity"])
                shown_rows.add_row(*names, family, *_cells(Score(**found)), style="dim")
    return shown_rows


def _cells(found: Score) -> tuple[str, ...]:
    return (
        str(found.operators),
        f"{found.milliseconds:.1f}",
        f"{found.error:.1%}",
        f"{found.rank:.3f}",
        f"{found.repeated:.1%}",
        f"{found.repeated_rank:.3f}",
        f"{found.rough:.1%}",
        f"{found.rough_rank:.3f}",
        f"{found.unknown:.1%}",
    )


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Whether the bars are met, and by which."""
    worst = max(rows, key=lambda row: row["error"])
    least = min(rows, key=lambda row: row["rank"])
    met = sum(row["error"] <= BAR_ERROR and row["rank"] >= BAR_RANK for row in rows)
    return (
        f"{met} of {len(rows)} rows within {BAR_ERROR:.0%} and of rank correlation {BAR_RANK} or more; the "
        f"largest error {worst['error']:.1%} ({worst['implementation']}, threads {worst['threads']}, "
        f"{worst['granularity']}), the least correlation {least['rank']:.3f}"
    )


def main() -> None:
    """Read the arguments, measure, fit, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--measure", action="store_true", help="only measure, unless --fit is given too")
    parser.add_argument("--fit", action="store_true", help="only evaluate what the file has")
    parser.add_argument("--quick", action="store_true", help="a few networks that compile quickly")
    parser.add_argument("--teach", action="store_true", help="let plans predict from what is measured")
    parser.add_argument("--networks", default="*", help="shell pattern of networks, such as 'mobilenet*'")
    parser.add_argument("--samples", type=int, help="calls of a round")
    parser.add_argument(
        "--data", type=Path, help="file of measurements; beside the cache of costs if omitted"
    )
    parser.add_argument("--minima", action="store_true", help="of the rounds, in place of the medians")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    networks = [
        each
        for each in NETWORKS
        if fnmatch.fnmatchcase(each.name, asked.networks) and (each.quick or not asked.quick)
    ]
    if not networks:
        raise OptionError(
            f"--networks {asked.networks}: none is called so; there are {', '.join(n.name for n in NETWORKS)}"
        )
    if asked.json is not None:
        check_writable("--json", asked.json)
    data: Path = asked.data or default_path().parent / "cost_measurements.jsonl"
    make_folder("--data", data.parent)
    console = Console(width=max(Console().width, 150))
    samples = asked.samples or (QUICK_SAMPLES if asked.quick else 15)
    if asked.measure or not asked.fit:
        warn_of_noise()
        sparsities = QUICK_SPARSITIES if asked.quick else SPARSITIES
        measure_missing(data, networks, sparsities, samples, Console(stderr=True))
    names = {each.name for each in networks}
    measurements = [each for each in read(data) if _current(each) and each.network in names]
    if asked.teach:
        teach(measurements)
    if asked.measure and not asked.fit:
        console.print(f"{len(measurements)} measurements are in {data}", markup=False, highlight=False)
        return
    if len({each.family for each in measurements}) < 2:
        raise OptionError(f"{data} has measurements of less than two families: measure more by --measure")
    statistic: Statistic = "minima" if asked.minima else "medians"
    rows = evaluate(measurements, statistic, Console(stderr=True))
    console.print(table(rows))
    console.print(summary(rows), markup=False, highlight=False)
    if asked.json is not None:
        write_file(asked.json, json.dumps(_record(measurements, statistic, rows), indent=1) + "\n")


def _current(measurement: Measurement) -> bool:
    return (measurement.cpu, measurement.versions) == (parse_target().name, versions())


def _record(
    measurements: Sequence[Measurement], statistic: Statistic, rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "machine": asdict(describe_machine(parse_target(), 1)),
        "batch": 1,
        "rounds": ROUNDS,
        "statistic": statistic,
        "samples": sorted({each.samples for each in measurements}),
        "load": {"least": min(m.load for m in measurements), "most": max(m.load for m in measurements)},
        "networks": sorted({each.network for each in measurements}),
        "sparsities": sorted({each.sparsity for each in measurements}),
        "longer_than_us": LONG * 1e6,
        "bars": {"error": BAR_ERROR, "rank": BAR_RANK},
        "summary": summary(rows),
        "rows": rows,
    }


if __name__ == "__main__":
    run(main)
