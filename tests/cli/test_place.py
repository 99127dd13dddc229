"""`sparsegen place` as it is typed: a table, JSON, and bad input in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from tests.hetero.models import EDGE

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
        ((), 1, "give a MODEL, or --problem FILE, one of the two"),
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


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    path = tmp_path / "devices.toml"
    path.write_text(EDGE)
    return path


def place_model(*arguments: str) -> Result:
    return place("tests.hetero.models:small", "--input-shape", "3x16x16", *arguments)


def test_a_model_on_emulated_devices(devices: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("plan.json", "plan.png", "trace.json", "operators.json")}
    options = ("--json", "--png", "--trace", "--export-operators")
    written = [str(each) for pair in zip(options, files.values(), strict=True) for each in pair]
    result = place_model("--devices", str(devices), "--run", "3", "--simulate", "--explain", "left", *written)
    assert result.exit_code == 0, result.output
    assert "makespan" in result.stdout
    assert "simulated, not measured" in result.stdout
    assert "left: in the plan on arm, by emulated" in result.stdout
    plan = json.loads(files["plan.json"].read_text())
    assert {each["device"] for each in plan["operators"]} == {"arm"}  # an invocation takes longer than all
    assert files["plan.png"].read_bytes().startswith(b"\x89PNG")
    assert json.loads(files["trace.json"].read_text())["traceEvents"]
    exported = json.loads(files["operators.json"].read_text())
    costs = {each["name"]: each["implementations"] for each in exported["operators"]}
    assert {each["device"] for each in costs["left"]} == {"arm", "tpu"}
    assert all(each["origin"] == "table" for each in costs["left"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--problem", "p.json", "--run", "2"), "--problem goes with --goal and --json alone"),
        (("resnet18", "--devices", "nowhere.toml"), "nowhere.toml"),
        (("resnet18", "--run", "-1"), "run is -1: give at least 0"),
        (("no_such_network",), "no_such_network"),
        (("resnet18", "--json", "/no/such/folder/x.json"), "there is no folder /no/such/folder"),
    ],
)
def test_bad_input_to_plan_a_model(arguments: tuple[str, ...], message: str) -> None:
    result = place(*arguments)
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_operator_that_the_plan_has_not(devices: Path) -> None:
    result = place_model("--devices", str(devices), "--explain", "middle")
    assert result.exit_code == 1
    assert "the plan has no operator 'middle'; it has" in result.stderr


def test_a_device_that_runs_nothing_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(EDGE.split("[[device]]")[0] + "[[device]]" + EDGE.split("[[device]]")[2])
    result = place("tests.cli.test_place:sorting", "--input-shape", "8", "--devices", str(path))
    assert result.exit_code == 1
    assert "no device runs operator" in result.stderr


def sorting() -> object:
    import torch

    class Sorting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.erf()

    return Sorting().eval()
