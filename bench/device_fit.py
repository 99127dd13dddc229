"""Fitting tables of devices to published times: which networks, which numbers, within which bounds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from bench.device_networks import Network
from sparsegen.devices import Profile, alone_seconds
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import parse_table

PUBLISHED: dict[str, dict[str, float]] = {
    "arm-a53x4": {
        "MobileNet-V1": 164, "MobileNet-V2": 122, "Inception-V1": 392, "Inception-V4": 3157,
        "DenseNet-169": 1032, "ResNet-50": 1763, "SqueezeNet": 232, "VGG-16": 4595, "VGG-19": 5538,
        "ResNet-152": 5499,
    },
    "edgetpu-pcie": {
        "MobileNet-V1": 2.2, "MobileNet-V2": 2.6, "Inception-V1": 4.0, "Inception-V4": 100,
        "DenseNet-169": 25, "ResNet-50": 56, "SqueezeNet": 2.0, "VGG-16": 343, "VGG-19": 357,
        "ResNet-152": 151,
    },
    "edgetpu-usb2": {"MobileNet-V1": 9.0, "MobileNet-V2": 10.6, "Inception-V1": 18.9, "Inception-V4": 1055},
    "edgetpu-usb3": {
        "MobileNet-V1": 2.3, "MobileNet-V2": 2.45, "Inception-V1": 3.25, "Inception-V4": 84,
        "DenseNet-169": 20, "ResNet-50": 49, "SqueezeNet": 2.1, "VGG-16": 296, "VGG-19": 308,
        "ResNet-152": 128,
    },
    "edgetpu-usb3-pi4": {
        "MobileNet-V1": 4.2, "MobileNet-V2": 4.6, "Inception-V1": 6.2, "Inception-V4": 141,
    },
    "v100": {"Inception-V3": 6.25, "NASNet-A large": 23.02, "RandWire": 8.53, "SqueezeNet, bypass": 0.89},
}  # fmt: skip
"""Milliseconds of one image, by table and network: coral.ai benchmarks and google-coral/edgetpu reference
files (of a range the middle), and IOS (MLSys 2021), one operator after the other on a V100.

Google does not say which DenseNet it has. Of the weights, beyond the cache of 7.3 MB, the 8 MB of
DenseNet-121 take 2 ms over USB 3 (450 MB/s), the 14 MB of DenseNet-169 15 ms, the 20 MB of DenseNet-201 28.
Published are 20 ms in all, of which some 5 are the invocation and the products: it is DenseNet-169."""


def fitted_networks(table: str) -> tuple[str, ...]:
    """Those that a table is fitted on: of all of its family, by name, the first, the third and so on."""
    family = FAMILIES[family_of(table)].tables
    names = sorted({name for each in family for name in PUBLISHED[each]})
    return tuple(name for name in names[::2] if name in PUBLISHED[table])


@dataclass(frozen=True)
class Parameter:
    """A number to fit: the keys that have it in a table, unit, bounds, and whether a family shares it."""

    paths: tuple[str, ...]
    unit: str
    low: float
    high: float
    shared: bool = True


@dataclass(frozen=True)
class FitFamily:
    """Tables that are fitted together, as their devices are alike."""

    tables: tuple[str, ...]
    parameters: tuple[Parameter, ...]


FAMILIES = {
    # Four cores of 1.5 GHz start at most 16 multiply-adds of int8 each in a cycle.
    "ARM": FitFamily(
        ("arm-a53x4",),
        (
            Parameter(("rates.int8.conv",), "GMAC/s", 1, 96),
            Parameter(("rates.int8.depthwise",), "GMAC/s", 0.1, 96),
            Parameter(("rates.int8.linear",), "GMAC/s", 0.05, 96),
            Parameter(("rates.int8.other",), "GB/s", 0.05, 10),
        ),
    ),
    # The chip is the same on every host: its rates are shared, the way to it is not. 2 TMAC/s are its peak.
    "EdgeTPU": FitFamily(
        ("edgetpu-pcie", "edgetpu-usb2", "edgetpu-usb3", "edgetpu-usb3-pi4"),
        (
            Parameter(("rates.int8.conv", "rates.int8.linear", "rates.int8.lstm"), "GMAC/s", 50, 2000),
            Parameter(("rates.int8.depthwise",), "GMAC/s", 5, 1000),
            Parameter(("rates.int8.other",), "GB/s", 1, 1000),
            Parameter(("overheads.invocation",), "ms", 0.1, 20, shared=False),
            Parameter(("link.bandwidth",), "MB/s", 10, 1000, shared=False),
        ),
    ),
    "V100": FitFamily(
        ("v100",),
        (
            Parameter(("overheads.operator",), "us", 2, 30),
            Parameter(("utilisation.elements",), "", 1e4, 5e6),
        ),
    ),
}
"""All fits. Bounds are wide: a number that lies on one tells that the data do not fix it."""


def family_of(table: str) -> str:
    """The family of a table."""
    return next(name for name, family in FAMILIES.items() if table in family.tables)


def fit(
    family: FitFamily, raw: Mapping[str, dict[str, Any]], networks: Mapping[str, Network]
) -> dict[str, dict[str, str]]:
    """The fitted numbers as a table writes them, by table and key; `raw` are the tables, whose rest stays.

    The least sum of squared logarithms of predicted over published times, all tables' together.
    """
    places = [
        (parameter, tables)
        for parameter in family.parameters
        for tables in ([family.tables] if parameter.shared else [(table,) for table in family.tables])
    ]
    bounds = np.log([(parameter.low, parameter.high) for parameter, _ in places]).T

    def written(logarithms: Sequence[float]) -> dict[str, dict[str, str]]:
        numbers: dict[str, dict[str, str]] = {table: {} for table in family.tables}
        for (parameter, tables), logarithm in zip(places, logarithms, strict=True):
            for table in tables:
                value = f"{np.exp(logarithm):.9g} {parameter.unit}".strip()
                numbers[table] |= dict.fromkeys(parameter.paths, value)
        return numbers

    def residuals(logarithms: Sequence[float]) -> list[float]:
        numbers = written(logarithms)
        return [
            float(np.log(predicted / published))
            for table in family.tables
            for predicted, published in _pairs(changed(table, raw[table], numbers[table]), networks)
        ]

    found = least_squares(residuals, bounds.mean(axis=0), bounds=bounds)
    return {
        table: {key: _rounded(text) for key, text in each.items()} for table, each in written(found.x).items()
    }


def _pairs(profile: Profile, networks: Mapping[str, Network]) -> Iterator[tuple[float, float]]:
    for name in fitted_networks(profile.name):
        yield predicted_ms(profile, networks[name]), PUBLISHED[profile.name][name]


def predicted_ms(profile: Profile, network: Network) -> float:
    """Milliseconds of an image by a table."""
    return 1e3 * alone_seconds(profile, network.operators, inputs=network.inputs, outputs=network.outputs)


def changed(table: str, raw: Mapping[str, Any], numbers: Mapping[str, str]) -> Profile:
    """A table with other numbers: `{"rates.int8.conv": "4 GMAC/s"}`."""
    content = copy.deepcopy(dict(raw))
    for path, text in numbers.items():
        *outer, key = path.split(".")
        inner = content
        for each in outer:
            inner = inner[each]
        inner[key] = text if " " in text else float(text)
    return parse_table(table, Section(table, content))


def _rounded(text: str) -> str:
    """Three digits: more the data do not give."""
    number, _, unit = text.partition(" ")
    return f"{float(f'{float(number):.3g}'):g} {unit}".strip()
