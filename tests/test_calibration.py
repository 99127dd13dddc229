"""A machine's measured speed: a file of its own, and what it changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sparsegen
from sparsegen.calibration import Calibration, read_calibration
from sparsegen.cli.app import app
from sparsegen.errors import CalibrationError, TargetError
from sparsegen.isa import SPEEDS, UNKNOWN_SPEED, Speed
from sparsegen.runtime import speed as measuring
from sparsegen.target import calibrated, parse_target
from tests.runtime.networks import example, small_network

SPEED = Speed(2e9, 5e9, 8e9)
HASWELL = Calibration("a machine", "haswell", 2, "2026-01-02", SPEED)


def test_a_machine_is_measured_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_BYTES", 1 << 20)
    path = tmp_path / "here.json"
    done = CliRunner().invoke(app, ["calibrate", "-o", str(path)])
    assert done.exit_code == 0, done.output
    target = parse_target()
    measured = read_calibration(path)
    assert (measured.cpu, measured.cores) == (target.name, target.cores)
    assert 1e8 < measured.speed.clock_hz < 1e10
    assert 1e8 < measured.speed.core_bandwidth <= measured.speed.socket_bandwidth < 1e13
    assert f"clock {measured.speed.clock_hz / 1e9:.2f} GHz" in done.output
    assert calibrated(target, path) == replace(target, speed=measured.speed)


def test_what_a_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "haswell.json"
    HASWELL.save(path)
    assert read_calibration(path) == HASWELL
    assert parse_target("haswell").speed == UNKNOWN_SPEED
    options = {"target": "haswell", "threads": 1}
    told = sparsegen.inspect(small_network(), (example(),), **options)
    measured = sparsegen.inspect(small_network(), (example(),), **options, calibration=path)
    for one, other in zip(told.as_dict()["layers"], measured.as_dict()["layers"], strict=True):
        assert other["seconds"] == pytest.approx(one["seconds"] * UNKNOWN_SPEED.clock_hz / SPEED.clock_hz)
        assert other | {"seconds": 0} == one | {"seconds": 0}
    compiled = sparsegen.compile(
        small_network(), (example(),), threads=1, target="haswell", database=None, calibration=path
    )
    compiled(example())


def test_a_file_of_another_cpu(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    replace(HASWELL, cpu="znver5").save(path)
    with pytest.raises(TargetError, match=r"is of znver5 \(a machine\), and the code is for haswell"):
        calibrated(parse_target("haswell"), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "is no calibration of this version: schema 1 is needed"),
        ({"speed": {"clock_hz": 1e9}}, "is no calibration of this version: 'core_bandwidth'"),
        ({"speed": {**SPEED.__dict__, "clock_hz": 0}}, "clock_hz is 0: a number from 1,000 on is needed"),
        ({"speed": {**SPEED.__dict__, "clock_hz": float("nan")}}, "clock_hz is nan: a number from 1,000 on"),
        ({"speed": {**SPEED.__dict__, "clock_hz": "fast"}}, "clock_hz is 'fast': a number from 1,000 on"),
        ({"speed": {**SPEED.__dict__, "clock_hz": 5e-324}}, "clock_hz is 5e-324: a number from 1,000 on"),
        ({"speed": {**SPEED.__dict__, "socket_bandwidth": 4e9}}, "is 4000000000.0, less than 5000000000.0"),
        ({"speed": 3}, "is no calibration of this version"),
        ({"schema": True}, "schema 1 is needed"),
        ({"schema": 1.0}, "schema 1 is needed"),
        ({"cores": -3}, "cores is -3: a whole number from 1 on"),
        ({"cores": True}, "cores is True: a whole number"),
        ({"date": None}, "date is None: text is needed"),
        ({"cpu": 3}, "cpu is 3: text is needed"),
        ({"cores": float("inf")}, "is no calibration of this version"),
    ],
)
def test_damaged_files(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    HASWELL.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CalibrationError, match=message):
        read_calibration(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("fast")
    (tmp_path / "deep").write_text("[" * 100_000)
    for name in ("text", "deep", "missing"):
        with pytest.raises(CalibrationError, match=f"{name} cannot be read as a calibration"):
            read_calibration(tmp_path / name)
    for path in (5, HASWELL.speed.__dict__):
        with pytest.raises(CalibrationError, match=f"the calibration is a {type(path).__name__}: give"):
            sparsegen.compile(small_network(), (example(),), calibration=path)  # type: ignore[arg-type]
    done = CliRunner().invoke(app, ["calibrate", "-o", str(tmp_path / "no" / "file")])
    assert done.exit_code == 1
    assert "there is no folder" in done.output
    done = CliRunner().invoke(app, ["inspect", "resnet18", "--calibration", str(tmp_path / "missing")])
    assert done.exit_code == 1
    assert "missing cannot be read as a calibration" in done.output


def test_families_have_speeds_that_make_sense() -> None:
    for each in (*SPEEDS.values(), UNKNOWN_SPEED):
        assert 1e9 < each.clock_hz < 6e9
        assert 1e9 < each.core_bandwidth <= each.socket_bandwidth
