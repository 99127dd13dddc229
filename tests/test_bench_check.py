"""The check against kept results: what counts as slower, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import check
from bench.check import Row
from sparsegen.compare.report import Race, Timing

STEADY = Row(ratio=2.0, noise=0.01)


def timing(median: float, spread: float = 0.0) -> Timing:
    return Timing(median, median * (1 - spread), median * (1 + spread))


@pytest.mark.parametrize(
    ("now", "fell"),
    [
        (Row(2.0, 0.0), False),
        (Row(1.91, 0.0), False),  # within 5 %
        (Row(1.89, 0.0), True),
        (Row(1.89, 0.10), False),  # within its own spread
        (Row(1.79, 0.10), True),
        (Row(3.0, 0.0), False),
    ],
)
def test_what_falls_by_more_than_the_noise(now: Row, fell: bool) -> None:
    assert now.fell(STEADY) is fell


def test_ratios_are_over_the_best_of_torch() -> None:
    rivals = {"torch-nchw": timing(8.0), "torch-nhwc": timing(6.0, 0.03), "sparsegen": timing(4.0, 0.04)}
    rows = dict(check.rows_of("layer", Race(sparse=timing(2.0), dense=rivals)))
    assert rows["layer, sparse"] == Row(3.0, pytest.approx(0.03))
    assert rows["layer, dense"] == Row(1.5, pytest.approx(0.05))


class Measured:
    """Stands in for `run_case`: the ratios of one row, run after run."""

    def __init__(self, *ratios: float) -> None:
        self.left = list(ratios)

    def __call__(self, case: check.Case, *, samples: int) -> dict[str, Row]:
        return {f"{case.name}, network, sparse": Row(self.left.pop(0), 0.01)}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results, and a check of one case."""
    monkeypatch.setattr(check, "CASES", check.CASES[:1])
    return tmp_path


def run(results: Path, monkeypatch: pytest.MonkeyPatch, measured: Measured, *options: str) -> int:
    monkeypatch.setattr(check, "run_case", measured)
    status = check.main(["--results", str(results), *options])
    assert not measured.left, "every measurement is taken"
    return status


def test_nothing_kept_is_no_success(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(results, monkeypatch, Measured(2.0)) == 2
    assert not list(results.rglob("*.json"))


def test_a_ratio_that_stays_lower_is_a_failure(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(results, monkeypatch, Measured(2.0), "--keep") == 0
    (kept,) = results.rglob("check.json")
    assert [row["ratio"] for row in json.loads(kept.read_text())["rows"].values()] == [2.0]
    assert run(results, monkeypatch, Measured(1.98)) == 0
    assert run(results, monkeypatch, Measured(1.7, 1.97)) == 0  # the second time it was not slower
    capsys.readouterr()
    assert run(results, monkeypatch, Measured(1.7, 1.6)) == 1
    assert "1 of 1 ratios fell" in capsys.readouterr().out


def test_a_row_that_is_not_measured_any_more_is_a_failure(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(results, monkeypatch, Measured(2.0), "--keep")
    (kept,) = results.rglob("check.json")
    kept.write_text(kept.read_text().replace("network, sparse", "a layer of old, sparse"))
    assert run(results, monkeypatch, Measured(2.0)) == 1


def test_an_unknown_case_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--results", str(results), "--only", "nothing"]) == 2
    assert "no case matches" in capsys.readouterr().out
