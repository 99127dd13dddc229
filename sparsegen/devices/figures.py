"""Figures of devices: a number in SI units, how it was written, and who says so."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sparsegen.errors import DeviceError

Origin = Literal["published", "measured", "derived", "recalled", "given"]
"""By a named source; by us or a named other; worked out from such; from memory, to be checked before it is
quoted; by a user's file, which names no source."""

ORIGINS: tuple[str, ...] = get_args(Origin)
Dimension = Literal["time", "size", "bandwidth", "rate", "speed", "count"]

_BYTES = {
    **{"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    **{"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}
# A multiply-add is two floating-point operations, as makers count.
_MULTIPLY_ADDS = {
    **{"MAC/s": 1.0, "MMAC/s": 1e6, "GMAC/s": 1e9, "TMAC/s": 1e12},
    **{"GFLOP/s": 0.5e9, "TFLOP/s": 0.5e12},
}
_BANDWIDTHS = {f"{unit}/s": factor for unit, factor in _BYTES.items()}
UNITS: dict[Dimension, dict[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "size": _BYTES,
    "bandwidth": _BANDWIDTHS,
    "rate": _MULTIPLY_ADDS,
    "speed": {**_MULTIPLY_ADDS, **_BANDWIDTHS},
    "count": {},
}
"""Units by what they measure, in SI units: seconds, bytes, bytes a second, multiply-adds a second; a speed is
either of the last two; a count has none."""

_EXAMPLES = {
    "time": '"1.5 ms"',
    "size": '"7 MiB"',
    "bandwidth": '"450 MB/s"',
    "rate": '"4 GMAC/s"',
    "speed": '"4 GMAC/s" or "2 GB/s"',
    "count": "16000",
}
_WRITTEN = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?|[-+]?inf|nan)\s*(\S*)\s*")


@dataclass(frozen=True)
class Figure:
    """A number of a device.

    `value` is in seconds, bytes, bytes a second or multiply-adds a second; `text` as it was written. `origin`
    tells how far to trust it, `source` who says so, or what it was derived from.
    """

    value: float
    text: str
    origin: Origin = "given"
    source: str = ""

    @property
    def in_bytes(self) -> bool:
        """Whether it is a speed in bytes a second, and not in multiply-adds."""
        return self.text.split()[-1] in _BANDWIDTHS


def parse_figure(
    written: Any, dimension: Dimension, where: str, *, least: float = 0.0, above: bool = True
) -> Figure:
    """The figure that a file has at `where`: `"1.5 ms"`, or `{value = "1.5 ms", source = "published: ..."}`.

    Raises DeviceError for anything else, for unknown units, and for numbers that are not finite or not
    `above` `least` (or, where that is false, below it).
    """
    origin: Origin = "given"
    source = ""
    if isinstance(written, dict):
        if written.keys() != {"value", "source"}:
            raise DeviceError(
                f"{where} has {_keys(written)}: give it a value and a source, or the value alone"
            )
        origin, source = parse_source(written["source"], f"{where}: source")
        written = written["value"]
    value, text = _number(written, dimension, where)
    if not math.isfinite(value):
        raise DeviceError(f"{where} is {text}: a finite number is needed")
    if value < least or (above and value == least):
        allowed = f"above {least:g}" if above else f"of at least {least:g}"
        raise DeviceError(f"{where} is {text}: a number {allowed} is needed")
    return Figure(value, text, origin, source)


def parse_source(written: Any, where: str) -> tuple[Origin, str]:
    """Origin and reference of `published: ...`, `measured: ...`, `derived: ...` or `recalled`."""
    kind, _, reference = written.partition(":") if isinstance(written, str) else ("", "", "")
    match kind.strip():
        case "published" | "measured" | "derived" as origin if reference.strip():
            return origin, reference.strip()
        case "recalled":
            return "recalled", reference.strip()
    raise DeviceError(
        f'{where} is {written!r}: it has to be "published: by whom", "measured: by whom", "derived: from '
        'what", or "recalled"'
    )


def _number(written: Any, dimension: Dimension, where: str) -> tuple[float, str]:
    units, example = UNITS[dimension], _EXAMPLES[dimension]
    if not units:
        if isinstance(written, bool) or not isinstance(written, int | float):
            raise DeviceError(f"{where} is {written!r}: give a number, such as {example}")
        return float(written), f"{written:g}" if isinstance(written, float) else str(written)
    matched = _WRITTEN.fullmatch(written) if isinstance(written, str) else None
    try:
        if matched is None:
            raise ValueError
        number, unit = float(matched[1]), matched[2]
    except ValueError:
        raise DeviceError(f"{where} is {written!r}: give a number and its unit, such as {example}") from None
    if unit not in units:
        unknown = f"has the unknown unit {unit!r}" if unit else "has no unit"
        raise DeviceError(f"{where} is {written!r}, which {unknown}: give one of {', '.join(units)}")
    return number * units[unit], f"{matched[1]} {unit}"


def _keys(content: dict[str, Any]) -> str:
    return ", ".join(sorted(content)) or "nothing"
