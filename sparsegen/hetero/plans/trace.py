"""A timeline as a Chrome trace: JSON that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparsegen.files import write_file
from sparsegen.hetero.plans.events import Event, Timeline
from sparsegen.hetero.plans.plan import PASSED_ON, Plan

_OPERATORS, _TRANSFERS = 1, 2
"""Numbers of the two processes that a trace shows: devices with their lanes, and links."""
_PASSING = ": inputs and results"
"""What the row of a device is called in which it passes on what others compute."""


def trace_of(plan: Plan, timeline: Timeline, title: str) -> dict[str, Any]:
    """The trace, as Chrome's format has it: complete events (ph X) and names (ph M); times in microseconds.

    A lane of a device is a thread of the process `title`, and a link one of a process of its own. Transfers
    over one link at once go to threads of their own, for a thread's events may not overlap; so do inputs and
    results that a device passes on while it computes.
    """
    rows = _rows(plan, timeline)
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows), start=1)}
    placed = {each.name: each for each in plan.operators}
    kinds = {each.name: each.kind for each in plan.devices} | dict.fromkeys(plan.emulated, "emulated")
    events: list[dict[str, Any]] = [
        _named("process_name", _OPERATORS, 0, title),
        _named("process_name", _TRANSFERS, 0, f"{title}: transfers"),
    ]
    several = {
        device for process, device, what, lane in numbers if lane and (process, what) == (_OPERATORS, "")
    }
    for (process, name, what, lane), number in numbers.items():
        told = f"{name} ({kinds[name]})" if name in kinds and kinds[name] != name else name
        told += what or (f", group {lane + 1}" if name in several and process == _OPERATORS else "")
        events.append(_named("thread_name", process, number, told))
        events.append({**_named("thread_sort_index", process, number, ""), "args": {"sort_index": number}})
    for each, row in zip(timeline.events, rows, strict=True):
        operator = placed[each.operator]
        details: dict[str, Any] = {"input": each.input, "bytes": operator.bytes}
        if each.kind == "operator":
            details = {
                "input": each.input,
                "implementation": operator.implementation,
                "threads": operator.threads,
                "predicted us": round(operator.seconds * 1e6, 3),
            }
        events.append(
            {
                "name": each.operator,
                "cat": each.kind,
                "ph": "X",
                "ts": round(each.start * 1e6, 3),
                "dur": round(each.seconds * 1e6, 3),
                "pid": row[0],
                "tid": numbers[row],
                "args": details,
            }
        )
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"plan": plan.model}}


def save_trace(plan: Plan, timeline: Timeline, path: Path, title: str) -> None:
    """Write the trace to a file. Raises SparsegenError where that fails."""
    write_file(path, json.dumps(trace_of(plan, timeline, title), separators=(",", ":")))


def _rows(plan: Plan, timeline: Timeline) -> list[tuple[int, str, str, int]]:
    """The process, the name, what is special and the number of each event's row."""
    passed_on = {each.name for each in plan.operators if each.implementation == PASSED_ON}
    free: dict[tuple[str, str], list[float]] = {}  # of the rows of each link: from when on
    found = []
    for each in timeline.events:
        beside = each.kind == "operator" and each.operator in passed_on and plan.depth > 1
        if each.kind == "operator" and not beside:
            found.append((_OPERATORS, each.device, "", each.lane))
            continue
        number = _first_free(free.setdefault((each.device, each.target), []), each)
        if beside:
            found.append((_OPERATORS, each.device, _PASSING, number))
        else:
            found.append((_TRANSFERS, f"{each.device} to {each.target}", "", number))
    return found


def _first_free(ends: list[float], event: Event) -> int:
    for number, end in enumerate(ends):
        if end <= event.start:
            ends[number] = event.end
            return number
    ends.append(event.end)
    return len(ends) - 1


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "ts": 0, "pid": process, "tid": thread, "args": {"name": name}}
