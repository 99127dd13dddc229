"""Tuned schedules as a table for a terminal, and workloads and schedules in words."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.database.tuned import Tuned
from sparsegen.database.workload import Workload
from sparsegen.errors import SparsegenError
from sparsegen.kernels.space import Point
from sparsegen.wording import dimensions, milliseconds

_OPERATORS = {"conv2d": "conv", "pool2d": "pool", "adaptivepool2d": "adaptive pool"}
_SHAPES = ("weight", "kernel", "output")
"""Parameters that are shapes and that words show, of which an operator has one."""


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
            Text(workload_words(tuned.workload)),
            str(tuned.workload.input[0]),
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
    found = [tuned for tuned in schedules if fnmatch.fnmatchcase(workload_words(tuned.workload), pattern)]
    if schedules and not found:
        words = "; ".join(dict.fromkeys(workload_words(tuned.workload) for tuned in schedules))
        raise SparsegenError(f"no workload matches {pattern!r}; there are: {words}")
    return found


def workload_words(workload: Workload) -> str:
    """`conv 64x56x56, 64x64x3x3 /2, unstructured 50 %`: operator, an input, weights, zeros; no batch."""
    fields = dict(workload.parameters)
    operator = _OPERATORS.get(workload.operator, workload.operator)
    words = f"{fields['kind']} {operator}" if "kind" in fields else operator
    words += f" {dimensions(workload.input[1:])}"
    for name in _SHAPES:
        if name in fields:
            words += f", {dimensions(fields[name])}"
    stride = fields.get("stride", (1, 1))
    if stride != (1, 1):
        words += f" /{stride[0] if len(set(stride)) == 1 else dimensions(stride)}"
    if fields.get("groups", 1) > 1:
        words += f" in {fields['groups']} groups"
    if "weight" not in fields:
        return words
    sparsity = f" {100 * (1 - workload.density):.0f} %" if workload.density < 1 else ""
    return f"{words}, {workload.structure}{sparsity}"


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
