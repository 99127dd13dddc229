"""The tuner against random search, on six convolutions of ResNet-18 at 50 % unstructured sparsity.

    python -m bench.tuning FOLDER [--json FILE] [--batch 1] [--threads 2] [--points 1000] [--trials 64]

Every layer's space is sampled by a random search of --points schedules, whose best stands for the best
there is; spaces are too large to try them all. Then the tuner searches with --trials, five times with
other seeds, each time cold: no log, no shipped schedule and no other layer to learn from. What the tuner
found and the best of the random search race in turn in the end, for a minimum over many noisy medians is
too good to be true. How many trials random search needs is told from its points in five other orders, its
first trial being the default schedule, as the tuner's is.

All trials are in FOLDER, as journals: the same command goes on where it stood.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.command import make_folder, run
from sparsegen.compare.machine import describe_machine
from sparsegen.database.journal import Journal, read_journal
from sparsegen.database.trial import Trial
from sparsegen.files import check_writable, write_file
from sparsegen.preparation import PREPARING_STEPS, prepare
from sparsegen.progress import Steps
from sparsegen.pruning.structures import parse_structure
from sparsegen.target import parse_target
from sparsegen.tuner.jobs import Task, find_tasks
from sparsegen.tuner.measure.local import LocalMeasurer
from sparsegen.tuner.options import TuneOptions
from sparsegen.tuner.session import Session

LAYERS = {
    "3x3 at 56": "features.stage1.unit1.body.conv1.conv",
    "3x3 at 28": "features.stage2.unit1.body.conv2.conv",
    "3x3 at 14": "features.stage3.unit1.body.conv2.conv",
    "3x3 at 7": "features.stage4.unit1.body.conv2.conv",
    "1x1 stride 2, 56 to 28": "features.stage2.unit1.identity_conv.conv",
    "3x3 stride 2, 28 to 14": "features.stage3.unit1.body.conv1.conv",
}
SEEDS = range(5)
WITHIN = 1.05


@dataclass(frozen=True)
class Row:
    """One layer; a value a seed, in the order of the seeds.

    Times are medians in milliseconds of one race: `default_ms`, `random_ms` of the best of all random
    points, `tuned_ms`. `tuned_trials` and `random_trials` are those after which the best so far, by the
    trials' own medians, was within 5 % of the best of all random points; None: never.
    `equal_trials` are those that random search needed for the quality of the tuner's last trial.
    """

    layer: str
    default_ms: float
    random_ms: float
    tuned_ms: list[float]
    tuned_trials: list[int | None]
    random_trials: list[int | None]
    equal_trials: list[int | None]

    @property
    def ratio(self) -> float:
        """The tuner's time over that of the best of all random points, in the race: median over seeds."""
        return statistics.median(self.tuned_ms) / self.random_ms


def search(
    task: Task, measurer: LocalMeasurer, path: Path, *, name: str, seed: int, trials: int
) -> list[Trial]:
    """The trials of a search, from its journal as far as they are there."""
    with Journal.open(path) as journal:
        Session(
            [task],
            measurer=measurer,
            journal=journal,
            options=TuneOptions(trials=trials, search=name, seed=seed, patience=0),
        ).run()
    return read_journal(path).measured(measurer.setting)[:trials]


def reached(times: Sequence[float], goal: float) -> int | None:
    """Trials until a time no longer than the goal; None: never."""
    return next((i for i, time in enumerate(times, start=1) if time <= goal), None)


def orders(times: Sequence[float]) -> list[list[float]]:
    """The same trials as other random searches would have met them; the default stays first."""
    return [[times[0], *random.Random(seed).sample(times[1:], len(times) - 1)] for seed in SEEDS]


def compare(task: Task, label: str, measurer: LocalMeasurer, folder: Path, points: int, trials: int) -> Row:
    """Both searches of one layer, and their race."""
    stem = label.replace(" ", "-").replace(",", "")
    by_chance = search(task, measurer, folder / f"{stem}-random.jsonl", name="random", seed=0, trials=points)
    tuned = [
        search(
            task, measurer, folder / f"{stem}-seed{seed}.jsonl", name="evolution", seed=seed, trials=trials
        )
        for seed in SEEDS
    ]
    best = [min(each, key=lambda trial: trial.median_ms) for each in (by_chance, *tuned)]
    racers = [task.space.default, *(task.space.read(trial.schedule) for trial in best)]
    distinct = list(dict.fromkeys(racers))
    medians = {
        measurement.schedule: statistics.median(measurement.times_ms)
        for measurement in measurer.race(task.job, distinct)
    }
    default_ms, random_ms, *tuned_ms = (medians[schedule] for schedule in racers)
    times = [trial.median_ms for trial in by_chance]
    goal = WITHIN * min(times)
    return Row(
        layer=label,
        default_ms=default_ms,
        random_ms=random_ms,
        tuned_ms=tuned_ms,
        tuned_trials=[reached([trial.median_ms for trial in each], goal) for each in tuned],
        random_trials=[reached(order, goal) for order in orders(times)],
        equal_trials=[
            reached(order, min(trial.median_ms for trial in each))
            for order, each in zip(orders(times), tuned, strict=True)
        ],
    )


def middle(counts: Sequence[int | None], most: int) -> str:
    """The median of counts, those that were never reached counting as more than all."""
    found = sorted(most + 1 if count is None else count for count in counts)[len(counts) // 2]
    return f"> {most}" if found > most else str(found)


def print_rows(rows: Sequence[Row], points: int, trials: int, console: Console) -> None:
    table = Table(title=f"{trials} trials of the tuner against {points} random points; medians of 5 seeds")
    for column in (
        "layer",
        "default ms",
        f"best of {points} ms",
        "tuned ms",
        "tuned over best",
        "worst seed",
        "trials to 5 %",
        "random's",
        "random's to equal",
    ):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for row in rows:
        table.add_row(
            row.layer,
            f"{row.default_ms:.3f}",
            f"{row.random_ms:.3f}",
            f"{statistics.median(row.tuned_ms):.3f}",
            f"{row.ratio:.3f}",
            f"{max(row.tuned_ms) / row.random_ms:.3f}",
            middle(row.tuned_trials, trials),
            middle(row.random_trials, points),
            middle(row.equal_trials, points),
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=64)
    options = parser.parse_args()
    make_folder("FOLDER", options.folder)
    if options.json is not None:
        check_writable("--json", options.json)
    prepared = prepare(
        "resnet18",
        None,
        structure=parse_structure("unstructured", sparsity=0.5),
        batch=options.batch,
        input_shape=None,
        steps=Steps(None, total=PREPARING_STEPS),
    )
    target = parse_target()
    tasks = {
        name: task
        for task in find_tasks(prepared.graph, target, threads=options.threads, dense=False)
        for name in task.layers
    }
    measurer = LocalMeasurer(target, options.threads)
    console, rows = Console(), []
    for label, name in LAYERS.items():
        rows.append(compare(tasks[name], label, measurer, options.folder, options.points, options.trials))
        print_rows(rows, options.points, options.trials, console)
    measurer.close()
    if options.json is not None:
        found = {
            "machine": asdict(describe_machine(target, options.threads)),
            "batch": options.batch,
            "threads": options.threads,
            "points": options.points,
            "trials": options.trials,
            "layers": [{**asdict(row), "tuned_over_best": row.ratio} for row in rows],
        }
        write_file(options.json, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
