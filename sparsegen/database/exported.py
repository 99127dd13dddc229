"""Exported schedules: the best ones of a CPU family as a short JSON file, made to be read and shipped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsegen.database.journal import Log
from sparsegen.database.records import UNREADABLE, read_point
from sparsegen.database.tuned import Tuned, best_of
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import JournalError
from sparsegen.files import check_writable, write_file

SCHEMA = 1

_FAMILY = ("cpu", "isa")
_PLACE = ("cpu", "isa", "machine", "sparsegen", "tvm")


def parse_exported(path: str | Path, data: bytes) -> list[Tuned]:
    """The schedules of an exported file; `path` is for messages.

    Raises SparsegenError for what is no such file, a newer schema, and an entry that cannot be read.
    """
    try:
        content = json.loads(data)
        schema, place = content["schema"], {name: content[name] for name in _PLACE}
        entries = list(content["schedules"])
    except UNREADABLE as error:
        raise JournalError(
            f"{path} is neither a journal of trials nor a file of exported schedules: give what "
            "`sparsegen tune` or `sparsegen schedules export` wrote"
        ) from error
    if type(schema) is not int or schema > SCHEMA:
        raise JournalError(
            f"{path} has schema {schema!r}, and this version of sparsegen reads schedules of schemas up to "
            f"{SCHEMA}: install a newer sparsegen, or export the schedules again"
        )
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(_read(place, entry))
        except UNREADABLE as error:
            raise JournalError(
                f"{path}: schedule {number} of {len(entries)} cannot be read ({type(error).__name__}: "
                f"{error}): correct it, or export the schedules again"
            ) from error
    return found


def export_schedules(log: Log, setting: Setting, path: Path) -> list[Tuned]:
    """Put the best schedules of a setting's trials into a file; return those that it did not have.

    Schedules that the file has for other workloads, threads and batches stay. Of two for one
    workload, measured on one machine with the same versions, the faster stays; otherwise the log's
    replaces the file's, as the times say nothing about each other. The file's `machine` and versions
    become the setting's. It is replaced as a whole, or left as it is.

    Raises SparsegenError for a log without a trial of that setting that ended well, a file of another
    CPU family, one that cannot be read, and a path that cannot be written.
    """
    check_writable("schedules", path)
    best = [tuned for tuned in best_of(log) if tuned.setting == setting]
    if not best:
        raise JournalError(
            f"no schedule was measured on {setting.machine} with {setting.threads} threads: tune first"
        )
    before = parse_exported(path, path.read_bytes()) if path.exists() else []
    for tuned in before:
        if any(getattr(tuned.setting, name) != getattr(setting, name) for name in _FAMILY):
            raise JournalError(
                f"{path} holds schedules of {tuned.setting.cpu} ({tuned.setting.isa}), and these are of "
                f"{setting.cpu} ({setting.isa}): give another file, one a CPU family"
            )
    kept = {_key(tuned): tuned for tuned in before}
    new = [tuned for tuned in best if _wins(tuned, kept.get(_key(tuned)))]
    kept |= {_key(tuned): tuned for tuned in new}
    if new:
        write_file(path, as_text(setting, kept.values()))
    return new


def export_last(log: Log, path: Path | None) -> tuple[Path, list[Tuned]]:
    """Export for every number of threads what the machine of the last trial measured with its versions.

    `path` is by default schedules/CPU.json. Returns the path, and the schedules that are new there;
    raises as `export_schedules`.
    """
    measured = [tuned.setting for tuned in best_of(log)]
    last = next((trial.setting for trial in reversed(log.trials) if trial.setting in measured), None)
    if last is None:
        raise JournalError(
            "no trial in the journal ended well, so that it has no schedule to export: tune first"
        )
    path = path or Path("schedules") / f"{last.cpu}.json"
    alike = [setting for setting in dict.fromkeys(measured) if replace(setting, threads=last.threads) == last]
    return path, [tuned for setting in alike for tuned in export_schedules(log, setting, path)]


def as_text(place: Setting, schedules: Iterable[Tuned]) -> str:
    """An exported file of schedules: sorted, an entry in three lines."""
    names = [f'  "{name}": {json.dumps(getattr(place, name))},\n' for name in _PLACE]
    entries = ",\n".join(map(_entry, sorted(schedules, key=_order)))
    return f'{{\n  "schema": {SCHEMA},\n{"".join(names)}  "schedules": [\n{entries}\n  ]\n}}\n'


def _entry(tuned: Tuned) -> str:
    fields = tuned.as_dict()
    measured = {name: fields[name] for name in ("ms", "default_ms", "trials")}
    lines = (
        {"threads": tuned.setting.threads, **measured},
        {"workload": fields["workload"]},
        {"kernel": tuned.kernel, "schedule": tuned.schedule},
    )
    # Three objects, one after the other, make one once the braces between them are gone.
    inner = ",\n     ".join(json.dumps(line)[1:-1] for line in lines)
    return f"    {{{inner}}}"


def _read(place: dict[str, str], entry: Any) -> Tuned:
    default_ms = entry["default_ms"]
    return Tuned(
        workload=Workload.from_dict(entry["workload"]),
        setting=Setting.from_dict({**place, "threads": int(entry["threads"])}),
        kernel=str(entry["kernel"]),
        schedule=read_point(entry["schedule"]),
        ms=float(entry["ms"]),
        default_ms=None if default_ms is None else float(default_ms),
        trials=int(entry["trials"]),
    )


def _wins(tuned: Tuned, before: Tuned | None) -> bool:
    """Whether a schedule replaces the file's."""
    if before is None or before.setting != tuned.setting:
        return True
    return tuned.ms < before.ms or (tuned.schedule == before.schedule and _rounded(tuned) != before)


def _rounded(tuned: Tuned) -> Tuned:
    fields = tuned.as_dict()
    return replace(tuned, ms=fields["ms"], default_ms=fields["default_ms"])


def _key(tuned: Tuned) -> tuple[Any, ...]:
    return tuned.setting.threads, tuned.workload, tuned.kernel


def _order(tuned: Tuned) -> tuple[Any, ...]:
    workload = tuned.workload
    rest = json.dumps([workload.parameters, workload.lanes, workload.structure, workload.density])
    return tuned.setting.threads, workload.operator, workload.input, workload.output, rest, tuned.kernel
