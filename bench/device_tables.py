"""Tables of devices: fitted on half of the networks with published times, and their errors on both halves.

    python -m bench.device_tables [--trace] [--json FILE]

The networks are those that Google and IOS published times of, one image each. Every other one by name is
fitted on, the rest is held out. What is fitted is written to FILE; the shipped tables have the same numbers,
which a test compares. Nothing here is timed: the results are the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.command import run
from bench.device_fit import FAMILIES, PUBLISHED, changed, fit, fitted_networks, predicted_ms
from bench.device_networks import Network, read_networks, shares, trace_networks
from sparsegen.files import check_writable, write_file


@dataclass(frozen=True)
class Row:
    """A network on a device, in milliseconds; `fitted`: the table was fitted on it."""

    table: str
    network: str
    fitted: bool
    published_ms: float
    predicted_ms: float

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted_ms / self.published_ms - 1


def raw_tables() -> dict[str, dict[str, Any]]:
    """The shipped tables that are fitted, as their files have them."""
    folder = resources.files("sparsegen.devices") / "shipped"
    return {name: tomllib.loads((folder / f"{name}.toml").read_text()) for name in PUBLISHED}


def fit_all(networks: dict[str, Network]) -> dict[str, dict[str, str]]:
    """The fitted numbers, by table and key."""
    raw = raw_tables()
    return {
        table: numbers
        for family in FAMILIES.values()
        for table, numbers in fit(family, raw, networks).items()
    }


def rows(numbers: dict[str, dict[str, str]], networks: dict[str, Network]) -> list[Row]:
    """Every published time beside what tables with these numbers give."""
    raw, made = raw_tables(), []
    for table, times in PUBLISHED.items():
        profile, fitted = changed(table, raw[table], numbers[table]), fitted_networks(table)
        for name, published in sorted(times.items()):
            predicted = round(predicted_ms(profile, networks[name]), 3)
            made.append(Row(table, name, name in fitted, published, predicted))
    return made


def mean_error(some: Sequence[Row]) -> float:
    """The mean of the errors' magnitudes."""
    return statistics.fmean(abs(row.error) for row in some)


def summary(all_rows: Sequence[Row]) -> list[str]:
    """The mean errors of every table, on both halves."""
    lines = []
    for table in PUBLISHED:
        own = [row for row in all_rows if row.table == table]
        fitted, held = [row for row in own if row.fitted], [row for row in own if not row.fitted]
        worst = max(held, key=lambda row: abs(row.error))
        lines.append(
            f"{table}: off by {mean_error(fitted):.1%} on the {len(fitted)} fitted on, by "
            f"{mean_error(held):.1%} on the {len(held)} held out, {worst.network} {worst.error:+.0%} at worst"
        )
    return lines


def shown(all_rows: Sequence[Row]) -> Table:
    """A line a network and device."""
    table = Table("device", "network", "", title="published times of one image, and the tables'")
    for column in ("published ms", "table ms", "error"):
        table.add_column(column, justify="right")
    for row in all_rows:
        half = "fitted on" if row.fitted else "held out"
        times = (f"{row.published_ms:g}", f"{row.predicted_ms:.4g}", f"{row.error:+.1%}")
        table.add_row(row.table, row.network, half, *times)
    return table


def as_json(numbers: dict[str, dict[str, str]], all_rows: Sequence[Row]) -> str:
    """The results, as they are kept."""
    times = [asdict(row) | {"error": round(row.error, 4)} for row in all_rows]
    return json.dumps({"numbers": numbers, "summary": summary(all_rows), "times": times}, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trace", action="store_true", help="trace the networks again, which takes minutes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    if asked.trace:
        trace_networks()
    networks = read_networks()
    numbers = fit_all(networks)
    found = rows(numbers, networks)
    console = Console()
    for line in shares(networks):
        console.print(line, highlight=False)
    console.print(shown(found))
    for table, each in numbers.items():
        console.print(f"{table}: {', '.join(f'{key} {text}' for key, text in each.items())}", highlight=False)
    for line in summary(found):
        console.print(line, highlight=False, soft_wrap=True)
    if asked.json is not None:
        write_file(asked.json, as_json(numbers, found))


if __name__ == "__main__":
    run(main)
