"""The shipped tables are what `python -m bench.device_tables` fits; the errors that it keeps are theirs."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from bench.device_fit import FAMILIES, PUBLISHED, changed, fit, fitted_networks, predicted_ms
from bench.device_networks import Network, read_networks
from bench.device_tables import raw_tables
from sparsegen.devices import table

KEPT = Path(__file__).parents[2] / "bench" / "results" / "device_tables.json"


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(KEPT.read_text())
    return content


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return read_networks()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shipped_table_has_the_fitted_numbers(name: str, kept: dict[str, Any]) -> None:
    raw = raw_tables()[name]
    for path, text in kept["numbers"][name].items():
        *outer, key = path.split(".")
        part = raw
        for each in outer:
            part = part[each]
        assert str(part[key]["value"]) == text, path
        assert part[key]["source"].startswith("derived: "), path


def test_the_kept_errors_are_the_shipped_tables(kept: dict[str, Any], networks: dict[str, Network]) -> None:
    assert len(kept["times"]) == sum(map(len, PUBLISHED.values()))
    for row in kept["times"]:
        predicted = predicted_ms(table(row["table"]), networks[row["network"]])
        assert predicted == pytest.approx(row["predicted_ms"], rel=1e-3)
        assert row["published_ms"] == PUBLISHED[row["table"]][row["network"]]
        assert row["fitted"] == (row["network"] in fitted_networks(row["table"]))


@pytest.mark.parametrize("name", ["ARM", "V100"])
def test_a_fit_from_other_numbers_gives_the_same(
    name: str, kept: dict[str, Any], networks: dict[str, Network]
) -> None:
    raw, family = raw_tables(), FAMILIES[name]
    found = fit(family, raw, networks)
    for each in family.tables:
        fitted, shipped = (
            dict(changed(each, raw[each], by[each]).figures()) for by in (found, kept["numbers"])
        )
        for what, figure in shipped.items():
            assert fitted[what].value == pytest.approx(figure.value, rel=0.01), what


def test_half_of_the_networks_is_held_out() -> None:
    for name, times in PUBLISHED.items():
        fitted = fitted_networks(name)
        assert set(fitted) < set(times)
        assert abs(2 * len(fitted) - len(times)) <= 1


def test_errors_are_told_of_both_halves(kept: dict[str, Any]) -> None:
    for name, line in zip(PUBLISHED, kept["summary"], strict=True):
        for half in (True, False):
            own = [row for row in kept["times"] if row["table"] == name and row["fitted"] == half]
            mean = statistics.fmean(abs(row["predicted_ms"] / row["published_ms"] - 1) for row in own)
            assert f"{mean:.1%} on the {len(own)} {'fitted on' if half else 'held out'}" in line


def test_multiply_adds_are_those_of_the_papers(networks: dict[str, Network]) -> None:
    # In G; of the papers or of their authors' code, at the size of image used here.
    known = {"MobileNet-V1": 0.569, "MobileNet-V2": 0.3, "ResNet-50": 7.2, "VGG-16": 15.5, "VGG-19": 19.6}
    known |= {
        "Inception-V1": 1.5,
        "Inception-V3": 5.7,
        "Inception-V4": 12.3,
        "NASNet-A large": 23.8,
        "RandWire": 7.9,
    }
    for name, giga in known.items():
        assert networks[name].multiply_adds / 1e9 == pytest.approx(giga, rel=0.05), name


def test_a_changed_table_is_another() -> None:
    raw = raw_tables()["v100"]
    assert changed("v100", raw, {"overheads.operator": "1 us"}).operator_overhead.value == pytest.approx(1e-6)
    assert table("v100").operator_overhead.value > 1e-6
