"""Tuned schedules as a table for a terminal."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.database.tuned import Tuned
from sparsegen.database.wording import batch_of, operator_phrase, workload_phrase, zeros_phrase
from sparsegen.errors import JournalError
from sparsegen.kernels.space import Point
from sparsegen.wording import milliseconds


def print_schedules(schedules: Sequence[Tuned], console: Console) -> None:
    """Print the table to `console`, and below it where the times were measured."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("workload")
    for title in ("batch", "threads"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("schedule", overflow="fold")
    for title in ("ms", "gain", "trials"):
        table.add_column(title, justify="right", no_wrap=True)
    for tuned in schedules:
        table.add_row(
            Text(f"{operator_phrase(tuned.workload)}, {zeros_phrase(tuned.workload)}"),
            str(batch_of(tuned.workload)),
            str(tuned.setting.threads),
            Text(schedule_words(tuned.schedule)),
            milliseconds(tuned.ms),
            "" if tuned.gain is None else f"{tuned.gain:.2f}x",
            str(tuned.trials),
        )
    console.print(table)
    console.print(Text("gain: over the schedule chosen without tuning"))
    for place in dict.fromkeys(_place(tuned) for tuned in schedules):
        console.print(Text(place))


def matching(schedules: Sequence[Tuned], pattern: str) -> list[Tuned]:
    """The schedules whose workloads, in words, match a shell pattern; SparsegenError where none does."""
    found = [tuned for tuned in schedules if fnmatch.fnmatchcase(workload_phrase(tuned.workload), pattern)]
    if schedules and not found:
        words = "; ".join(dict.fromkeys(workload_phrase(tuned.workload) for tuned in schedules))
        raise JournalError(f"no workload matches {pattern!r}; there are: {words}")
    return found


def schedule_words(schedule: Point) -> str:
    """`masked_panels, rows 4, tile_w 7, prefetch`: names and numbers of knobs; what is off is left out."""
    words = [str(value) for value in schedule.values() if isinstance(value, str)]
    for knob, value in schedule.items():
        if value is True:
            words.append(knob)
        elif value is not False and not isinstance(value, str):
            words.append(f"{knob} {value}")
    return ", ".join(words)


def _place(tuned: Tuned) -> str:
    setting = tuned.setting
    return (
        f"measured on {setting.machine} ({setting.cpu}, {setting.isa}), "
        f"sparsegen {setting.sparsegen}, TVM {setting.tvm}"
    )
