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
    assert line == (
        "makespan 2.01 ms; b alone: 4.00 ms, 1.99 times as long; no plan is faster; found by list scheduling "
        "(HEFT)"
    )
    found = json.loads(answer.read_text())
    assert (found["makespan"], found["optimal"]) == (pytest.approx(0.00201), True)
    assert [each["device"] for each in found["operators"]] == ["b", "b", "a"]
    assert [(each["operator"], each["from"], each["to"]) for each in found["transfers"]] == [("w", "b", "a")]


def test_help_says_among_which_plans_a_stream_is_optimal() -> None:
    told = " ".join(place("--help").stdout.replace("│", " ").split())
    assert "optimal means: among plans that place all inputs alike, or in equal copies." in told


def test_a_pipeline_from_end_to_end(problem: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    picture, trace = tmp_path / "answer.png", tmp_path / "trace.json"
    files = ("--json", str(answer), "--png", str(picture), "--trace", str(trace))
    result = place("--problem", str(problem), "--goal", "throughput", *files)
    assert result.exit_code == 0, result.output
    assert (
        "period 2.00 ms; b alone: 4.00 ms, 2.00 times as long; no plan is faster; latency 2.01 ms, bound by "
        "device b; found by an exact search"
    ) in result.stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines()]
    assert ["x", "a", "1.01", "2.01"] in rows, "when, for the first input"
    assert picture.read_bytes().startswith(b"\x89PNG")
    events = [each for each in json.loads(trace.read_text())["traceEvents"] if each["ph"] == "X"]
    starts = [each["ts"] for each in events if each["name"] == "x"]
    assert starts[:3] == pytest.approx([1010.0, 3010.0, 5010.0]), "each input a period after the one before"
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


def test_a_plan_is_run_again(devices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, again = tmp_path / "plan.json", tmp_path / "again.json"
    assert place_model("--devices", str(devices), "--json", str(kept)).exit_code == 0
    assert "measured" not in json.loads(kept.read_text())
    monkeypatch.setattr("sparsegen.hetero.run.find_plan", lambda *_, **__: pytest.fail("searched again"))
    result = place_model("--plan", str(kept), "--run", "3", "--simulate", "--json", str(again))
    assert result.exit_code == 0, result.output
    assert "measured: first result after" in result.stdout
    assert "simulated, not measured: first result after" in result.stdout
    found = json.loads(again.read_text())
    measured = found.pop("measured")
    assert found == json.loads(kept.read_text())
    assert measured["inputs"] == 3
    assert measured["operators"].keys() == {each["name"] for each in found["operators"]}
    assert measured["makespan"] >= found["makespan"], "emulated: never before the table's time"
    # What was measured is no part of what is run: the plan is taken as it was.
    assert place("--plan", str(again), "--simulate", "--trace", str(tmp_path / "t.json")).exit_code == 0


def test_plans_that_are_not_run_again(devices: Path, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    assert place_model("--devices", str(devices), "--json", str(kept)).exit_code == 0
    for arguments, message in (
        (("--plan", str(kept), "--run", "2"), "give that MODEL, too, or simulate the plan"),
        (("tests.cli.test_place:heavy", "--input-shape", "1600", "--plan", str(kept)), "another graph"),
        (("--plan", str(tmp_path / "none.json"), "--simulate"), "none.json cannot be read"),
        (
            ("--plan", str(kept), "--goal", "throughput", "--no-measure"),
            "leave out --goal, --no-measure; the plan has decided all else",
        ),
    ):
        result = place(*arguments)
        assert result.exit_code == 1
        assert message in result.stderr


def test_an_accelerator_alone_is_started_over_its_link(tmp_path: Path) -> None:
    """1.84 ms an invocation; the input of 768 bytes and the result of 8 over 480 MB/s; weights stream."""
    path, kept = tmp_path / "devices.toml", tmp_path / "plan.json"
    path.write_text("[[device]]" + EDGE.split("[[device]]")[2])
    result = place_model("--devices", str(path), "--json", str(kept))
    assert result.exit_code == 0, result.output
    assert "makespan 1.84 ms predicted, all on tpu, inputs and results on host\n" in result.stdout
    assert "not taken" not in result.stdout
    assert "assumed" not in result.stdout
    plan = json.loads(kept.read_text())
    assert [each["device"] for each in plan["operators"]] == ["host", "tpu", "host"]
    assert [each["seconds"] for each in plan["transfers"]] == pytest.approx([768 / 480e6, 8 / 480e6])
    computing = plan["operators"][1]["seconds"]
    assert 1.84e-3 < computing < 1.85e-3
    assert plan["makespan"] == pytest.approx(computing + 776 / 480e6)
    stream = place_model("--devices", str(path), "--goal", "throughput", "--json", str(kept))
    assert stream.exit_code == 0, stream.output
    plan = json.loads(kept.read_text())
    assert (plan["period"], plan["optimal"]) == (pytest.approx(computing), True)
    result = place("tests.cli.test_place:heavy", "--input-shape", "1600", "--devices", str(path))
    assert result.exit_code == 0, result.output


def test_an_accelerator_that_is_the_host_has_its_inputs_there(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text('host = "tpu"\n[[device]]' + EDGE.split("[[device]]")[2])
    result = place_model("--devices", str(path))
    assert result.exit_code == 0, result.output
    assert (
        "inputs and results are assumed to lie on tpu, as the file says that it is the host: no transfer and "
        "no start is counted for them"
    ) in result.stdout
    arm = tmp_path / "arm.toml"
    arm.write_text("[[device]]" + EDGE.split("[[device]]")[1])
    result = place_model("--devices", str(arm))
    assert "assumed to lie on arm, as its table has no [link] to a host: no transfer is" in result.stdout
    result = place("tests.cli.test_place:heavy", "--input-shape", "1600", "--devices", str(path))
    assert result.exit_code == 1
    assert "device 'tpu' keeps 7.3 MB of weights, and the model has 10.2 MB" in result.stderr
    assert "Add what 'tpu' is connected to as another [[device]]" in result.stderr


def test_the_gain_of_each_accelerator_is_told(tmp_path: Path) -> None:
    path, plan = tmp_path / "devices.toml", tmp_path / "plan.json"
    second = EDGE.split("[[device]]")[2].replace('"tpu"', '"other"')
    path.write_text(f"{EDGE}[[device]]{second}")
    arguments = ("tests.cli.test_place:heavy", "--input-shape", "1600", "--devices", str(path))
    result = place(*arguments, "--json", str(plan))
    assert result.exit_code == 0, result.output
    (summary,) = [line for line in result.stdout.splitlines() if line.startswith("makespan")]
    (others,) = [line for line in result.stdout.splitlines() if line.startswith("not taken")]
    assert "; tpu alone: " in summary
    assert "list scheduling (HEFT): " in others
    assert "arm alone: " in others
    assert "without other: " in others
    found = json.loads(plan.read_text())
    assert found["alternatives"]["without other"] > found["makespan"]
    result = place(*arguments, "--goal", "throughput")
    assert "without other: " in result.stdout


def test_stages_are_planned_on_a_table_alone_and_told_as_simulated(tmp_path: Path, devices: Path) -> None:
    gpu = '[[device]]\nname = "gpu"\nkind = "profile"\ntable = "v100"\n'
    path = tmp_path / "gpu.toml"
    path.write_text(gpu)
    branches = ("tests.hetero.models:branches", "--input-shape", "3x16x16")
    result = place(*branches, "--devices", str(path), "--simulate", "--no-measure")
    assert result.exit_code == 0, result.output
    (summary,) = [line for line in result.stdout.splitlines() if line.startswith("makespan")]
    assert "ms by the table, stages of operators at once on one device; sequential, gpu: " in summary
    assert "not taken: greedy stages, gpu: " in result.stdout
    assert "stages on gpu are simulated by its table, not measured: operators fill " in result.stdout
    assert "simulated, not measured: first result after" in result.stdout
    chain = place_model("--devices", str(path))
    assert "by its table, nothing is gained by several at once" in chain.stdout
    stream = place_model("--devices", str(path), "--goal", "throughput").stdout
    assert "gpu runs one operator at a time in this plan, though" in stream
    both = tmp_path / "both.toml"
    both.write_text(EDGE.replace('name = "tpu"', 'name = "gpu"').replace("edgetpu-usb3", "v100"))
    assert (
        "gpu runs one operator at a time in this plan, though" in place_model("--devices", str(both)).stdout
    )
    assert "at a time" not in place_model("--devices", str(devices)).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--problem", "p.json", "--run", "2"),
            "--problem goes with --goal, --json, --png and --trace alone: leave out --run",
        ),
        (("resnet18", "--explain", ""), "explain is '': give the name of an operator or a layer"),
        (
            ("--problem", "p.json", "--sparsity", "0", "--granularity", "layer", "--no-measure"),
            "leave out --granularity, --no-measure, --sparsity; the file has all else",
        ),
        (("m", "--problem", "p.json", "--batch", "1", "--plan", "f"), "leave out MODEL, --plan, --batch;"),
        (("resnet18", "--structure", "2:4"), "structure is '2:4', and nothing is pruned: give a sparsity"),
        (("resnet18", "--png", "z.xyz"), "let the path end in .png, .svg or .pdf"),
        (("resnet18", "--json", "f.json", "--trace", "f.json"), "--json and --trace both name f.json"),
        (("resnet18", "--trace", "f.svg"), "JSON is written there, which .svg does not say"),
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


def test_an_operator_that_the_plan_has_not(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(*_: object, **__: object) -> None:
        pytest.fail("planned before the name was looked at")

    monkeypatch.setattr("sparsegen.hetero.run.find_plan", planned)
    for wrong, close in (("middle", "it has x, first"), ("lefty", "close to it are left")):
        result = place_model("--devices", str(devices), "--explain", wrong)
        assert result.exit_code == 1
        assert f"the plan has no operator {wrong!r}; {close}" in result.stderr


def test_an_operator_that_rewriting_does_not_make_is_told_before_planning(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsegen.hetero.run.find_plan", lambda *_, **__: pytest.fail("planned before"))
    result = place_model("--devices", str(devices), "--rewrite", "--explain", "middle")
    assert result.exit_code == 1
    assert "the plan has no operator 'middle'" in result.stderr


@pytest.mark.parametrize(
    ("granularity", "name", "line"),
    [
        ("layer", "left", "left: in the plan on arm, by emulated, in first..mean, all of which takes"),
        ("model", "left", "left is one of 4 layers of operator model, whose costs these are: in the plan on"),
        ("model", "model", "model: in the plan on arm, by emulated\n"),
        ("layer", "x", "x: in the plan on arm, by passed on\n"),
    ],
)
def test_an_operator_is_explained(granularity: str, name: str, line: str, devices: Path) -> None:
    result = place_model("--devices", str(devices), "--granularity", granularity, "--explain", name)
    assert result.exit_code == 0, result.output
    assert line in result.stdout
    rows = [each.split("│") for each in result.stdout.splitlines() if each.startswith("│")]
    assert [row[1].strip() for row in rows] == (["arm"] if name == "x" else ["arm", "tpu"])


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


def heavy() -> object:
    import torch

    layers = [each for _ in range(4) for each in (torch.nn.Linear(1600, 1600), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers).eval()
