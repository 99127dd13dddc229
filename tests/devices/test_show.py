"""`sparsegen devices` as it is typed, and what it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from sparsegen.devices import table, tables
from sparsegen.devices.show import _cores
from tests.devices.samples import written

OWN = '[rates.float32]\nconv = "1 GMAC/s"\n'
TWO = """
[[device]]
name = "arm"
kind = "profile"
table = "arm-a53x4"
[[device]]
name = "tpu"
kind = "profile"
table = "edgetpu-usb3"
[[device]]
name = "tpu1"
kind = "profile"
table = "edgetpu-usb3"
[[device]]
name = "far"
kind = "cpu"
cores = [100000]
"""


def devices(*arguments: str, columns: int = 100) -> Result:
    return CliRunner().invoke(app, ["devices", *arguments], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 140])
def test_this_machine_and_all_tables(columns: int, tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    done = devices("--json", str(path), columns=columns)
    assert done.exit_code == 0, done.output
    assert re.search(r"^ cpu +cpu ", done.output, re.MULTILINE)
    for name in tables():
        assert re.search(rf"^ {name} ", done.output, re.MULTILINE), name
    assert ("Raspberry Pi 4" in done.output) == (columns > 100)
    assert max(map(len, done.output.splitlines())) <= columns
    content = json.loads(path.read_text())
    assert content["schema"] == 1
    assert content["devices"][0]["kind"] == "cpu"
    assert [each["name"] for each in content["tables"]] == list(tables())


def test_a_table_prints_every_number_and_every_source(tmp_path: Path) -> None:
    path = tmp_path / "tpu.json"
    done = devices("edgetpu-usb3", "--json", str(path), columns=300)
    assert done.exit_code == 0, done.output
    figures = dict(table("edgetpu-usb3").figures())
    told = json.loads(path.read_text())["numbers"]
    assert told.keys() == figures.keys()
    for name, figure in figures.items():
        line = next(line for line in done.output.splitlines() if line.startswith(f" {name} "))
        assert figure.text in line
        assert figure.origin in line
        number = line.split()[-1]
        assert re.search(rf"^ {number}: {re.escape(figure.source)} *$", done.output, re.MULTILINE)
        assert told[name] == {
            "value": figure.value, "text": figure.text, "origin": figure.origin, "source": figure.source
        }  # fmt: skip
    assert "weights beyond the cache cross the link in every run" in done.output
    assert "weights have to be constant" in done.output


def test_a_table_prints_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "npu.json"
    done = devices("ethos-u55", "--json", str(path), columns=300)
    assert done.exit_code == 0, done.output
    assert re.search(r"pooling window, height, at most +256 +published", done.output)
    assert "adaptive pooling has to have equal windows" in done.output
    content = json.loads(path.read_text())
    assert (content["equal_windows"], content["even_padding"]) == (True, False)
    assert content["numbers"]["stride, at most"]["value"] == 3


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    done = devices(str(written(tmp_path, OWN, "mine.toml")))
    assert done.exit_code == 0, done.output
    assert "mine: mine" in done.output
    assert re.search(r"rate, float32, conv +1 GMAC/s +given", done.output)


def test_a_file_of_devices(tmp_path: Path) -> None:
    path = tmp_path / "two.json"
    done = devices(str(written(tmp_path, TWO)), "--json", str(path), columns=120)
    assert done.exit_code == 0, done.output
    assert "arm (host)" in done.output
    assert "missing: this process may not run on core 100000" in done.output
    assert re.search(r"tpu +tpu1 +0 us +240 MB/s +through arm, one transfer at a time", done.output)
    content = json.loads(path.read_text())
    assert content["host"] == "arm"
    assert len(content["links"]) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("edgetpu",), "there is no table 'edgetpu': there are arm-a53x4"),
        (("/no/such.toml",), "/no/such.toml cannot be read as a file of devices, or a table: No such file"),
        (("--json", "/no/such/folder/x.json"), "there is no folder /no/such/folder"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = devices(*arguments)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("cores", "told"),
    [((3,), "core 3"), ((0, 1), "2 cores (0-1)"), ((5, 0, 1, 2), "4 cores (0-2, 5)")],
)
def test_cores_in_short(cores: tuple[int, ...], told: str) -> None:
    assert _cores(cores) == told
