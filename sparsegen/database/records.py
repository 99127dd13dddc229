"""A journal's lines as JSON objects: records, and what they share, which is written once.

Workloads, settings and names of features are *defined* by lines of their own, under an id made of
their content; the lines of trials and races refer to them by it, which keeps those short.
tuning_logs/README.md explains every field.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from sparsegen.database.trial import Origin, Race, Status, Trial
from sparsegen.database.workload import Setting, Workload
from sparsegen.kernels.space import Point

Line = dict[str, Any]

SCHEMA = 1
"""Of the journals that are written here; older ones are read, newer ones refused."""

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What reading a line that holds something else than it should may raise."""

_DIGITS = 4
_LONGEST_ERROR = 400  # characters: compilers say more than a log should keep
_PLAIN = ("kernel", "schedule", "status", "error", "origin", "search", "seed", "at")
_DEFAULTS = {field.name: field.default for field in fields(Trial)}


class Definitions:
    """What a journal's lines have defined: workloads, settings, names of features; by kind and id."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Any] = {}

    def learn(self, line: Line) -> None:
        """Take a definition in. Raises one of UNREADABLE for one that is damaged."""
        kind, content = line["type"], line["content"]
        if line["id"] != _content_id(content):
            raise ValueError("its content is not what its id was made of")
        self._known[kind, line["id"]] = _DEFINED[kind](content)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._known

    def get(self, kind: str, name: Any) -> Any:
        """What an id stands for. Raises ValueError where no line defines it."""
        if not isinstance(name, str) or (kind, name) not in self._known:
            raise ValueError(f"no line defines the {kind} {name!r}")
        return self._known[kind, name]


def defines(line: Line) -> bool:
    """Whether a line defines something, rather than record it."""
    return line["type"] in _DEFINED


def lines_of(record: Trial | Race, known: Definitions) -> list[Line]:
    """The record's line, and before it the definitions that are not known yet."""
    workload = _definition("workload", record.workload.as_dict())
    setting = _definition("setting", record.setting.as_dict())
    shared, line = [workload, setting], {"workload": workload["id"], "setting": setting["id"]}
    if isinstance(record, Race):
        times: Any = [_times(each) for each in record.times_ms]
        line |= {"kernel": record.kernel, "schedules": list(record.schedules), "times_ms": times}
        line |= {"at": record.at}
    else:
        line |= {name: getattr(record, name) for name in _PLAIN if getattr(record, name) != _DEFAULTS[name]}
        if record.error:
            line["error"] = record.error[:_LONGEST_ERROR]
        if record.times_ms:
            line["times_ms"] = _times(record.times_ms)
        if record.features or record.features_version:
            names = {"version": record.features_version, "names": list(record.features)}
            shared.append(_definition("features", names))
            line |= {"names": shared[-1]["id"], "features": [_short(x) for x in record.features.values()]}
        line["seconds"] = [_short(x) for x in record.seconds]
    new = [each for each in shared if (each["type"], each["id"]) not in known]
    return [*new, {"type": "race" if isinstance(record, Race) else "trial", **line}]


def record_of(line: Line, known: Definitions) -> Trial | Race:
    """The record of a line. Raises one of UNREADABLE for a line that is damaged or of an unknown type."""
    if line["type"] not in ("trial", "race"):
        raise ValueError(f"its type is {line['type']!r}")
    workload, setting = known.get("workload", line["workload"]), known.get("setting", line["setting"])
    if line["type"] == "race":
        schedules = tuple(read_point(point) for point in line["schedules"])
        times = tuple(_read_times(each) for each in line["times_ms"])
        if not times or len(times) != len(schedules) or not all(times):
            raise ValueError("a race needs the times of every schedule")
        return Race(workload, setting, _text(line["kernel"]), schedules, times, _text(line["at"]))
    version, names = known.get("features", line["names"]) if "names" in line else (0, ())
    build, run = line["seconds"]
    return Trial(
        workload=workload,
        setting=setting,
        kernel=_text(line["kernel"]),
        schedule=read_point(line["schedule"]),
        status=_one_of(Status, line["status"]),
        times_ms=_read_times(line.get("times_ms", [])),
        error=_text(line.get("error", "")),
        features=dict(zip(names, map(_number, line.get("features", [])), strict=True)),
        features_version=version,
        origin=_one_of(Origin, line.get("origin", _DEFAULTS["origin"])),
        search=_text(line.get("search", _DEFAULTS["search"])),
        seed=int(line.get("seed", _DEFAULTS["seed"])),
        at=_text(line.get("at", "")),
        seconds=(float(build), float(run)),
    )


def as_text(line: Line) -> bytes:
    """The line as a journal holds it. Raises ValueError for times that are not finite."""
    return json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_point(value: Any) -> Point:
    """A schedule as JSON. Raises TypeError for anything else."""
    if not isinstance(value, dict) or not all(isinstance(each, int | str) for each in value.values()):
        raise TypeError(f"{value!r} is no schedule")
    return value


def _definition(kind: str, content: Line) -> Line:
    return {"type": kind, "id": _content_id(content), "content": content}


def _content_id(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha1(canonical.encode(), usedforsecurity=False).hexdigest()[:10]


def _feature_names(content: Line) -> tuple[int, tuple[str, ...]]:
    return int(content["version"]), tuple(_text(name) for name in content["names"])


_DEFINED: Mapping[str, Any] = {
    "workload": Workload.from_dict,
    "setting": Setting.from_dict,
    "features": _feature_names,
}


def _short(value: float) -> float | int | None:
    """Four significant digits, whole numbers without a point; None for what is not finite."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 10**15 else rounded


def _times(times: tuple[float, ...]) -> list[float]:
    """To 0.1 us."""
    return [round(float(time), 4) for time in times]


def _read_times(times: Any) -> tuple[float, ...]:
    found = tuple(float(time) for time in times)
    if not all(math.isfinite(time) and time >= 0 for time in found):
        raise ValueError("its times are not all finite")
    return found


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text should")
    return value


def _one_of(allowed: Any, value: Any) -> Any:
    if value not in get_args(allowed):
        raise ValueError(f"{value!r} is none of {', '.join(get_args(allowed))}")
    return value
