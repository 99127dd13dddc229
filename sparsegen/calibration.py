"""Calibration files: what a machine's cores reach, measured once, in place of its CPU family's figures."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sparsegen.errors import CalibrationError
from sparsegen.files import write_file
from sparsegen.isa import Speed

SCHEMA = 1
_LEAST = 1000  # cycles or bytes a second: with less, times of large layers might not be finite


@dataclass(frozen=True)
class Calibration:
    """A machine's speed, measured on a `date`, as in 2026-12-31.

    `model` is its CPU as the maker calls it, `cpu` as LLVM does; `cores` is how many it has.
    """

    model: str
    cpu: str
    cores: int
    date: str
    speed: Speed

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all; raises FileError where that fails."""
        record = {"schema": SCHEMA, **asdict(self)}
        write_file(path, json.dumps(record, indent=2) + "\n")


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
    """The calibration in a file of `sparsegen calibrate`.

    Raises CalibrationError for a file that cannot be read, or is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise CalibrationError(f"the calibration is a {type(path).__name__}: give the path of a file")
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{path} cannot be read as a calibration: {error}") from error
    try:
        return _calibration(record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f"{path} is no calibration of this version: {error}; make one by `sparsegen calibrate -o FILE`"
        ) from error


def _calibration(record: Any) -> Calibration:
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA or type(schema) is not int:
        raise ValueError(f"schema {SCHEMA} is needed")
    speed = Speed(**{each.name: _reached(record["speed"][each.name], each.name) for each in fields(Speed)})
    if speed.socket_bandwidth < speed.core_bandwidth:
        raise ValueError(
            f"socket_bandwidth is {speed.socket_bandwidth!r}, less than {speed.core_bandwidth!r} of one core"
        )
    cores = record["cores"]
    if type(cores) is not int or cores < 1:
        raise ValueError(f"cores is {cores!r}: a whole number from 1 on is needed")
    words = {name: record[name] for name in ("model", "cpu", "date")}
    for name, word in words.items():
        if not isinstance(word, str):
            raise ValueError(f"{name} is {word!r}: text is needed")
    return Calibration(cores=cores, speed=speed, **words)


def _reached(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST <= value < math.inf:
        raise ValueError(f"{name} is {value!r}: a number from {_LEAST:,} on is needed")
    return float(value)
