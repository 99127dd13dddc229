"""Functions by ReLUs: our error beside even knots' and another search's, and what a fit takes.

    python -m bench.relu_approximation [--json FILE] [--png FILE] [--oracle-knots N]

Every named function on the whole line, exp for x <= 0, the others on the interval that is printed. Even
knots lie on the function, on [-8, 8] or the interval. The oracle is sequential linear programming over knots
and values from several starts (tests/rewriting/approximation/oracle.py), up to N knots; it looks at fewer
points than the proof of ours, so it may print a little less. C is error * knots^2. Only the seconds depend
on the machine: CPU time of one fit.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen.files import write_file
from sparsegen.outputs import check_outputs, save_picture
from sparsegen.rewriting import approximate, certificate
from sparsegen.rewriting.approximation.functions import named
from sparsegen.rewriting.approximation.picture import draw
from tests.rewriting.approximation.cases import CURVED, INTERVALS
from tests.rewriting.approximation.oracle import even_error, least_error

KNOTS = (2, 4, 8, 16, 32)
STARTS = {2: 6, 4: 6, 8: 5, 16: 5, 32: 4}


@dataclass(frozen=True)
class Row:
    """One function by one number of knots; `certified` says that 2 % less error takes more knots."""

    function: str
    interval: tuple[float, float]
    knots: int
    error: float
    even_error: float
    oracle_error: float | None
    certified: bool
    seconds: float

    @property
    def constant(self) -> float:
        return self.error * self.knots**2


def measure(name: str, knots: int, oracle: bool) -> Row:
    """Fit one function, ours and others' way."""
    function = named(name)
    start = time.process_time()
    fit = approximate(name, knots=knots, interval=INTERVALS.get(name))
    seconds = time.process_time() - start
    return Row(
        function=name,
        interval=fit.interval,
        knots=knots,
        error=fit.error,
        even_error=even_error(function, fit.interval, knots),
        oracle_error=least_error(function, fit.interval, knots, starts=STARTS[knots]) if oracle else None,
        certified=certificate(fit, knots=knots).holds,
        seconds=seconds,
    )


def show(rows: list[Row]) -> None:
    """Print the table, and the exponent of each function."""
    table = Table(
        "function", "knots", "error", "even knots", "oracle", "ours/oracle", "C", "certified", "CPU s"
    )
    for row in rows:
        oracle = "" if row.oracle_error is None else f"{row.oracle_error:.3e}"
        ratio = "" if row.oracle_error is None else f"{row.error / row.oracle_error:.4f}"
        table.add_row(
            row.function,
            str(row.knots),
            f"{row.error:.3e}",
            f"{row.even_error:.3e}",
            oracle,
            ratio,
            f"{row.constant:.3f}",
            "yes" if row.certified else "NO",
            f"{row.seconds:.2f}",
        )
    console = Console()
    console.print(table)
    for name in dict.fromkeys(row.function for row in rows):
        many = [row for row in rows if row.function == name and row.knots >= 8]
        slope = np.polyfit(np.log([row.knots for row in many]), np.log([row.error for row in many]), 1)[0]
        console.print(f"{name}: error falls as knots^{slope:.2f}, C = {many[-1].constant:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw every function by 4 knots")
    parser.add_argument(
        "--oracle-knots", type=int, default=32, metavar="N", help="ask the oracle up to N knots"
    )
    options = parser.parse_args()
    check_outputs({"--json": options.json}, {"--png": options.png})
    rows = [measure(name, knots, knots <= options.oracle_knots) for name in CURVED for knots in KNOTS]
    show(rows)
    if options.json is not None:
        results = [{**asdict(row), "interval": [str(each) for each in row.interval]} for row in rows]
        write_file(options.json, json.dumps(results, indent=1) + "\n")
    if options.png is not None:
        fits = [approximate(name, knots=4, interval=INTERVALS.get(name)) for name in CURVED]
        save_picture(draw(fits), options.png)


if __name__ == "__main__":
    run(main)
