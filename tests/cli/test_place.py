"""`sparsegen place` as it is typed: a table, JSON, and bad input in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app

PROBLEM = {
    "schema": 1,
    "devices": ["a", "b"],
    "operators": [
        {"name": "w", "bytes": 0, "times": {"a": 0.004, "b": 0.001}},
        {"name": "x", "reads": ["w"], "bytes": 4096, "times": {"a": 0.001, "b": 0.002}},
        {"name": "y[red]", "reads": ["w"], "times": {"a": 0.001, "b": 0.001}},
    ],
    "links": [{"from": "b", "to": "a", "latency": 1e-5, "bandwidth": 1e9}],
}


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(PROBLEM))
    return path


def place(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["place", *arguments])


def test_a_schedule_from_end_to_end(problem: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    result = place("--problem", str(problem), "--goal", "latency", "--json", str(answer))
    assert result.exit_code == 0, result.output
    assert "y[red]" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("makespan")]
    assert line.startswith(
        "makespan 2.01 ms, 1.99x as fast as the best device alone (b, 4.00 ms); no plan is"
    )
    found = json.loads(answer.read_text())
    assert (found["makespan"], found["optimal"]) == (pytest.approx(0.00201), True)
    assert [each["device"] for each in found["operators"]] == ["b", "b", "a"]
    assert [(each["operator"], each["from"], each["to"]) for each in found["transfers"]] == [("w", "b", "a")]


def test_a_pipeline_from_end_to_end(problem: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    result = place("--problem", str(problem), "--goal", "throughput", "--json", str(answer))
    assert result.exit_code == 0, result.output
    assert "period 2.00 ms, 2.00x as fast as the best device alone (b, 4.00 ms); no plan is" in result.stdout
    found = json.loads(answer.read_text())
    assert (found["period"], found["optimal"], found["limit"]) == (0.002, True, "device b")
    assert {each["name"]: each["device"] for each in found["operators"]} == {
        "w": "b",
        "x": "a",
        "y[red]": "b",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 7}, "has schema 7: this version reads schema 1"),
        ({"links": [{"from": "b", "to": "b", "latency": 0, "bandwidth": 1}]}, "from a device to itself"),
        ({"operators": [{"name": "w", "times": {"c": 1}}]}, "unknown device 'c': known are a, b"),
    ],
)
def test_bad_input_is_one_clear_line_and_nothing_is_written(
    change: dict[str, object], message: str, problem: Path, tmp_path: Path
) -> None:
    problem.write_text(json.dumps(PROBLEM | change))
    result = place("--problem", str(problem), "--json", str(tmp_path / "answer.json"))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {problem}")
    assert message in line
    assert list(tmp_path.iterdir()) == [problem]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--problem", "missing.json"), 1, "cannot read missing.json"),
        (("--problem", "missing.json", "--json", "no/folder.json"), 1, "there is no folder"),
        (("--problem", "missing.json", "--goal", "power"), 2, "--goal"),
        ((), 2, "--problem"),
    ],
)
def test_options_that_cannot_be_used(arguments: tuple[str, ...], status: int, message: str) -> None:
    result = place(*arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_it_starts_without_torch_and_tvm(problem: Path) -> None:
    command = (
        "import sys; from sparsegen.hetero import solve; solve(sys.argv[1]); "
        "sys.exit('torch' in sys.modules or 'tvm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", command, str(problem)], check=False).returncode == 0
