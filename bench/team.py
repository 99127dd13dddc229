"""Empty parallel regions of a small team: an OpenMP library against the runtime's own threads.

    python -m bench.team [--threads 2] [--awake 1 20000 200000 1000000] [--libgomp libgomp.so.1]
        [--seconds 0.3] [--rounds 7] [--json FILE]

Regions follow each other at once, or after 50 us or 1 ms in which the calling thread works, as between
calls of a model. Own threads wait for the next one awake for so many ticks of the processor's clock, then
asleep; the OpenMP library waits as it does by default. All take turns, each in a process of its own, each
thread on a core of its own. Medians over rounds are told: of a round's fastest tenth, of its median, and of
the CPU time that the other threads take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen.errors import ToolchainError
from sparsegen.files import check_writable, write_file
from sparsegen.lowering.library import run_gcc
from sparsegen.noise import warn_of_noise
from sparsegen.target import cpu_model

AWAKE = (1, 20_000, 200_000, 1_000_000)
_HERE = Path(__file__).parent
_NATIVE = _HERE.parent / "sparsegen" / "runtime" / "native" / "src"


@dataclass(frozen=True)
class Regions:
    """Microseconds of regions that follow each other after a gap, and the cores' worth that waiting took."""

    gap_us: float
    tenth_us: float
    median_us: float
    others_cpu: float


def build(folder: Path, awake: int) -> Path:
    """The program of team.c. Raises SparsegenError where gcc is not there, or fails."""
    program = folder / f"team-{awake}"
    sources = [str(_HERE / "team.c"), str(_NATIVE / "team.c"), str(_NATIVE / "workers.c")]
    flags = ["-std=gnu11", "-O2", f"-DAWAKE={awake}", f"-I{_NATIVE}", "-pthread"]
    run_gcc("the benchmark", [*flags, "-o", str(program), *sources, "-ldl"])
    return program


def measure(command: Sequence[str]) -> list[Regions]:
    """Run the program once, and read what it tells of each gap."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"{' '.join(command)}: {done.stderr.strip() or f'status {done.returncode}'}")
    return [Regions(**each) for each in json.loads(done.stdout)]


def middle(rounds: Sequence[Regions]) -> Regions:
    """Medians over rounds of one gap."""
    columns = zip(*(asdict(each).values() for each in rounds), strict=True)
    return Regions(*map(statistics.median, columns))


def main() -> None:
    """Read the arguments, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--awake", type=int, nargs="+", default=AWAKE)
    parser.add_argument("--libgomp", default="libgomp.so.1")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    warn_of_noise()
    arguments = (str(asked.threads), str(asked.seconds))
    with tempfile.TemporaryDirectory() as folder:
        programs = {awake: build(Path(folder), awake) for awake in asked.awake}
        commands = {f"awake {awake:,}": (str(programs[awake]), *arguments) for awake in asked.awake}
        commands[asked.libgomp] = (str(programs[asked.awake[0]]), *arguments, asked.libgomp)
        rounds = [{name: measure(command) for name, command in commands.items()} for _ in range(asked.rounds)]
    medians = {
        name: [middle(each) for each in zip(*(told[name] for told in rounds), strict=True)]
        for name in commands
    }
    _tell(medians, asked.threads)
    if asked.json is not None:
        teams = {name: [asdict(each) for each in gaps] for name, gaps in medians.items()}
        record = {"cpu": cpu_model(), "threads": asked.threads, "rounds": asked.rounds, "teams": teams}
        write_file(asked.json, json.dumps(record, indent=2) + "\n")


def _tell(medians: dict[str, list[Regions]], threads: int) -> None:
    table = Table(
        title=f"us of an empty region, {threads} threads: fastest tenth, median; cores that waiting took"
    )
    table.add_column("team", no_wrap=True)
    for each in next(iter(medians.values())):
        table.add_column(f"after {each.gap_us:.0f} us", justify="right")
    for name, gaps in medians.items():
        cells = (f"{each.tenth_us:.2f}, {each.median_us:.2f}; {each.others_cpu:.2f}" for each in gaps)
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    run(main)
