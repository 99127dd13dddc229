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
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} cannot be read as a calibration: {error}") from error
    try:
        return _calibration(record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f"{path} is no calibration of this version: {error}; make one by `sparsegen calibrate -o FILE`"
        ) from error


def _calibration(record: Any) -> Calibration:
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ValueError(f"schema {SCHEMA} is needed")
    speed = Speed(**{each.name: _positive(record["speed"][each.name], each.name) for each in fields(Speed)})
    return Calibration(
        model=str(record["model"]),
        cpu=str(record["cpu"]),
        cores=int(record["cores"]),
        date=str(record["date"]),
        speed=speed,
    )


def _positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}: a number above 0 is needed")
    return float(value)
