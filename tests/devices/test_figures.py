"""Numbers of devices: their units, their sources, and what is no number."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sparsegen.devices.figures import UNITS, Dimension, parse_figure
from sparsegen.errors import DeviceError


@pytest.mark.parametrize(
    ("written", "dimension", "value"),
    [
        ("1.5 ms", "time", 1.5e-3),
        ("12us", "time", 12e-6),
        ("2e-3 s", "time", 2e-3),
        ("450 MB/s", "bandwidth", 450e6),
        ("7 MiB", "size", 7 * 1024**2),
        ("4.1 GMAC/s", "rate", 4.1e9),
        ("15.7 TFLOP/s", "rate", 7.85e12),
        ("2 GB/s", "speed", 2e9),
        (16000, "count", 16000.0),
        (0.5, "count", 0.5),
    ],
)
def test_numbers_are_in_si_units(written: Any, dimension: Dimension, value: float) -> None:
    figure = parse_figure(written, dimension, "here")
    assert math.isclose(figure.value, value)
    assert (figure.origin, figure.source) == ("given", "")


def test_a_speed_knows_what_it_counts() -> None:
    assert parse_figure("2 GB/s", "speed", "here").in_bytes
    assert not parse_figure("2 GMAC/s", "speed", "here").in_bytes


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("published: a datasheet", ("published", "a datasheet")),
        ("measured: by us, twice", ("measured", "by us, twice")),
        ("derived: from a: b", ("derived", "from a: b")),
        ("recalled", ("recalled", "")),
        ("recalled: 5 to 20 us", ("recalled", "5 to 20 us")),
    ],
)
def test_a_source_is_kept(source: str, told: tuple[str, str]) -> None:
    figure = parse_figure({"value": "1 s", "source": source}, "time", "here")
    assert (figure.origin, figure.source) == told


@pytest.mark.parametrize(
    ("written", "dimension", "reason"),
    [
        ("3 parsecs", "time", r"unknown unit 'parsecs': give one of s, ms, us, ns"),
        ("3 ms", "bandwidth", r"unknown unit 'ms'"),
        ("3 MB", "bandwidth", r"unknown unit 'MB': give one of B/s"),
        ("3 MS", "time", r"unknown unit 'MS'"),
        ("3", "time", r"has no unit: give one of s"),
        (3, "time", r'give a number and its unit, such as "1.5 ms"'),
        ("fast", "rate", r'give a number and its unit, such as "4 GMAC/s"'),
        ("1.2.3 s", "time", "give a number and its unit"),
        (None, "time", "give a number and its unit"),
        ([1], "size", "give a number and its unit"),
        ("-1 ms", "time", r"-1 ms: a number above 0"),
        ("0 s", "time", r"0 s: a number above 0"),
        ("inf s", "time", "a finite number"),
        ("nan s", "time", "a finite number"),
        ("1e999 s", "time", "a finite number"),
        (math.nan, "count", "a finite number"),
        (True, "count", "give a number, such as 16000"),
        ("16000", "count", "give a number, such as 16000"),
        ({"value": "1 s"}, "time", "has value: give it a value and a source"),
        ({"value": "1 s", "source": "recalled", "by": "me"}, "time", "has by, source, value"),
        ({"value": "1 s", "source": "published"}, "time", "source is 'published': it has to be"),
        ({"value": "1 s", "source": "hearsay: a friend"}, "time", "it has to be"),
        ({"value": "1 s", "source": 3}, "time", "it has to be"),
    ],
)
def test_what_is_no_number(written: Any, dimension: Dimension, reason: str) -> None:
    with pytest.raises(DeviceError, match=f"^here.*{reason}"):
        parse_figure(written, dimension, "here")


def test_zero_where_it_may_be() -> None:
    assert parse_figure("0 s", "time", "here", above=False).value == 0
    with pytest.raises(DeviceError, match="of at least 0 is needed"):
        parse_figure("-1 s", "time", "here", above=False)


def test_units_of_a_speed_tell_its_dimension() -> None:
    assert not UNITS["rate"].keys() & UNITS["bandwidth"].keys()
    assert UNITS["speed"] == UNITS["rate"] | UNITS["bandwidth"]
