"""`sparsegen rewrite` and `place --rewrite`, end to end on small models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner, Result

import sparsegen.devices as sparsegen_devices
from sparsegen.cli.app import app
from sparsegen.devices import describe_graph, table, unsupported
from sparsegen.frontend import from_torch, load_program
from sparsegen.graph import LayerGraph
from sparsegen.hetero.api import find_plan
from sparsegen.hetero.plans.plan import Goal
from sparsegen.hetero.plans.plan_json import load_plan
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.rewriting.gain import best_rewritten
from sparsegen.hetero.rewriting.options import RewriteOptions
from sparsegen.hetero.rewriting.report import layers_on_host
from sparsegen.hetero.rewriting.run import host_and_device
from tests.hetero.models import EDGE
from tests.hetero.plans import operator, plan_of


def gated() -> nn.Module:
    """Convolutions with activations that an EdgeTPU lacks."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(64, 8, 1),
    )


def tiny() -> nn.Module:
    """Too little work for an EdgeTPU: calling it takes longer than all of it on the host."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.Mish(), nn.Conv2d(2, 2, 3), nn.Mish())


def shrunk() -> nn.Module:
    """A function that jumps, which nothing replaces."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardshrink(0.5))


class Gate(nn.Module):
    """A product of two convolutions, and a function that has an asymptote on one side alone."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.left(x)) + F.hardswish(self.left(x) * self.right(x))


def multiplied() -> nn.Module:
    torch.manual_seed(0)
    return Gate()


MODEL = "tests.hetero.test_rewriting:gated"


def sparsegen(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--input-shape", "3x32x32"])


def test_a_view_is_no_layer_of_the_host() -> None:
    plan = plan_of(
        [
            operator("conv", "device", 2.0, layers=("conv",)),
            operator("floor", "host", 1.0, ["conv"], layers=("floor", "exp")),
            operator("view", "host", 1.0, ["floor"], layers=("view",)),
        ]
    )
    assert layers_on_host(plan) == 3
    free = [replace(each, seconds=float(each.name != "view")) for each in plan.operators]
    assert layers_on_host(replace(plan, operators=tuple(free))) == 2


def test_a_model_is_rewritten_and_read_back(tmp_path: Path) -> None:
    output, report, png = (tmp_path / name for name in ("m.pt2", "r.json", "p.png"))
    frames = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "c.npy", frames)
    result = sparsegen(
        *("rewrite", MODEL, "--device", "edgetpu-usb3", "--max-error", "1e-3"),
        *(
            "--calibration",
            str(tmp_path / "c.npy"),
            "-o",
            str(output),
            "--json",
            str(report),
            "--png",
            str(png),
        ),
    )
    assert result.exit_code == 0, result.output
    told = json.loads(report.read_text())
    words = {each["operator"]: each["word"] for each in told["replaced"]}
    assert words == {"silu": "decomposed", "gelu": "approximated"}
    assert all(each["error"] <= 1e-3 for each in told["replaced"])
    assert told["accuracy"]["inputs"] == "calibration"
    assert told["predicted_seconds"]["after"] < told["predicted_seconds"]["before"]
    program, x = load_program(output), torch.from_numpy(frames[:1])
    graph = from_torch(program, (x,))
    refused = [unsupported(table("edgetpu-usb3"), each) for each in describe_graph(graph).values()]
    assert not any(refused)
    with torch.no_grad():
        off = (program.module()(x) - gated().eval()(x)).abs().max().item()
    assert off <= told["accuracy"]["max_error"] + 1e-5


def test_what_holds_on_a_range_alone_says_so(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "c.npy", frames)
    written = {name: str(tmp_path / name) for name in ("m.pt2", "r.json", "p.svg")}
    result = sparsegen(
        *(
            "rewrite",
            "tests.hetero.test_rewriting:multiplied",
            "--device",
            "relu-conv",
            "--max-error",
            "1e-2",
        ),
        *("--calibration", str(tmp_path / "c.npy"), "-o", written["m.pt2"], "--json", written["r.json"]),
        *("--png", written["p.svg"]),
    )
    assert result.exit_code == 0, result.output
    told = {each["operator"]: each for each in json.loads(Path(written["r.json"]).read_text())["replaced"]}
    assert [len(told[name]["ranges"]) for name in ("exp", "mul", "hardswish")] == [1, 2, 0]
    with torch.no_grad():
        low, high = (each.item() for each in torch.aminmax(multiplied().left(torch.from_numpy(frames))))
    ((least, most),) = told["exp"]["ranges"].values()
    assert (least, most) == pytest.approx((low - 0.1 * (high - low), high + 0.1 * (high - low)), rel=1e-4)
    lines = result.output.splitlines()
    assert f"exp holds where its input is in [{least:.3g}, {most:.3g}]" in result.output
    assert any("mul holds where its inputs are in [" in each for each in lines)
    assert any("hardswish" in each and "all inputs" in each for each in lines)
    (closing,) = [each for each in lines if "ALONE" in each]
    assert closing.startswith("2 of 3 replaced operators: ON CALIBRATION'S RANGES ALONE, with 10% more")
    assert "not drawn, as they are no functions of one value: product by 2" in result.output
    assert "no picture is written" not in result.output
    assert Path(written["p.svg"]).exists()
    # Within the range the bound holds, and far beyond it does not.
    program, model = load_program(written["m.pt2"]).module(), multiplied().eval()
    x = torch.from_numpy(frames[:1])
    with torch.no_grad():
        assert (program(x) - model(x)).abs().max() < 5e-2
        assert (program(5 * x) - model(5 * x)).abs().max() > 5e-2


def test_what_is_slower_is_called_so() -> None:
    result = sparsegen("rewrite", "tests.hetero.test_rewriting:tiny", "--device", "edgetpu-usb3")
    (line,) = [each for each in result.output.splitlines() if each.startswith("predicted by tables")]
    assert "x, SLOWER than the model as it is" in line
    assert "what was replaced holds for all inputs" in result.output


def test_native_approximations_are_drawn(tmp_path: Path) -> None:
    png = tmp_path / "p.png"
    result = sparsegen("rewrite", MODEL, "--device", "edgetpu-usb3", "--max-error", "0.02", "--png", str(png))
    assert "SLOWER" not in result.output
    assert "x * sigmoid(1.773 x)" in " ".join(result.output.split())
    assert "drawn" not in result.output
    assert png.read_bytes().startswith(b"\x89PNG")
    result = sparsegen(
        "rewrite", MODEL, "--device", "edgetpu-usb3", "--max-error", "0", "--partial", "--png", str(png)
    )
    assert "nothing was approximated, so there is nothing to draw" in result.output


def test_a_file_that_is_read_is_not_written(tmp_path: Path) -> None:
    model, table = tmp_path / "m.pt2", tmp_path / "t.json"
    model.write_bytes(b"a model")
    (tmp_path / "same.pt2").hardlink_to(model)
    table.write_text("a table")
    for arguments, message in (
        ((str(model), "--device", "relu-conv", "-o", str(tmp_path / "same.pt2")), "is MODEL"),
        ((MODEL, "--device", "relu-conv", "--calibration", str(model), "-o", str(model)), "is --calibration"),
        ((MODEL, "--device", str(table), "--json", str(table)), "is --device"),
        (
            (MODEL, "--device", "relu-conv", "-o", "x.onnx"),
            "which .onnx does not say: let the path end in .pt2",
        ),
    ):
        result = sparsegen("rewrite", *arguments)
        assert result.exit_code == 1
        assert message in result.output
    assert model.read_bytes() == b"a model"


def test_what_stays_fails_and_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "m.pt2"
    arguments = (
        "rewrite",
        "tests.hetero.test_rewriting:shrunk",
        "--device",
        "edgetpu-usb3",
        "-o",
        str(output),
    )
    result = sparsegen(*arguments)
    assert result.exit_code == 1
    assert "hardshrink stays on the host, as edgetpu-usb3 has no hardshrink" in result.output
    assert "1 operator left that edgetpu-usb3 does not run: hardshrink" in result.output
    assert not output.exists()
    assert sparsegen(*arguments, "--partial").exit_code == 0
    assert output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "nope"), "there is no table 'nope'"),
        (("--device", "gpu", "--max-error", "nan"), "max_error is nan"),
        (("--device", "gpu", "--max-error", "inf"), "max_error is inf: give a finite number"),
        (("--device", "edgetpu-usb3", "--max-error", "-1"), "give a finite number, at least 0"),
        (("--device", "edgetpu-usb3", "--end-to-end", "1e-2"), "give them, as .npy or .npz"),
        (("--device", "edgetpu-usb3", "--end-to-end", "0"), "give a finite number above 0"),
        (("--device", "edgetpu-usb3", "--max-error", "1", "--end-to-end", "1"), "give one of them"),
        (("--device", "edgetpu-usb3", "--calibration", "nowhere.npy"), "nowhere.npy cannot be read"),
        (("--device", "arm-a53x4"), "is no accelerator"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str) -> None:
    result = sparsegen("rewrite", MODEL, *arguments)
    assert result.exit_code == 1
    assert message in result.output


def test_place_rewrites_where_that_gains(tmp_path: Path) -> None:
    devices = tmp_path / "edge.toml"
    devices.write_text(EDGE)
    result = sparsegen("place", MODEL, "--devices", str(devices), "--rewrite", "--run", "2")
    assert result.exit_code == 0, result.output
    (line,) = [each for each in result.output.splitlines() if each.startswith("rewritten for tpu")]
    before, after = (float(line.split(word)[0].split()[-1]) for word in (" ms before", " ms after"))
    assert after < before
    assert "2 operators replaced, 0 left" in line


def test_an_accelerator_alone_gets_what_it_runs_by_rewriting(tmp_path: Path) -> None:
    devices = tmp_path / "edge.toml"
    devices.write_text("[[device]]" + EDGE.split("[[device]]")[2])
    result = sparsegen("place", MODEL, "--devices", str(devices))
    assert result.exit_code == 1
    assert "no device runs operator" in result.output
    result = sparsegen("place", MODEL, "--devices", str(devices), "--rewrite")
    assert result.exit_code == 0, result.output
    (line,) = [each for each in result.output.splitlines() if each.startswith("rewritten for tpu")]
    assert "ms, and as it is no device runs some of it; 2 operators replaced, 0 left" in line
    result = sparsegen(
        "place", "tests.cli.test_place:sorting", "--input-shape", "8", "--devices", str(devices)
    )
    assert result.exit_code == 1


def test_place_keeps_a_model_that_rewriting_makes_slower(tmp_path: Path) -> None:
    devices = tmp_path / "edge.toml"
    devices.write_text(EDGE)
    name, plans = "tests.hetero.test_rewriting:tiny", [tmp_path / each for each in ("is.json", "re.json")]
    for plan, options in zip(plans, ((), ("--rewrite",)), strict=True):
        result = sparsegen("place", name, "--devices", str(devices), "--json", str(plan), *options)
        assert result.exit_code == 0, result.output
    (line,) = [each for each in result.output.splitlines() if "rewritten" in each]
    assert line.startswith("not rewritten, as nothing is gained")
    as_it_is, rewritten = (float(line.split(word)[0].split()[-1]) for word in (" ms as it", " ms rewritten"))
    assert rewritten > as_it_is
    assert "2 operators replaced, 0 left" in line
    kept, chosen = (load_plan(each) for each in plans)
    assert (kept.fingerprint, kept.makespan) == (chosen.fingerprint, chosen.makespan)


@pytest.mark.parametrize("goal", ["latency", "throughput"])
@pytest.mark.parametrize("device", ["edgetpu-usb3", "ethos-u55", "relu-conv"])
@pytest.mark.parametrize("model", [gated, tiny])
def test_what_is_chosen_is_never_slower(model: Callable[[], nn.Module], device: str, goal: Goal) -> None:
    inputs = (torch.zeros(1, 3, 32, 32),)
    graph, machine = from_torch(model().eval(), inputs), host_and_device("arm-a53x4", device)

    def plan(graph: LayerGraph) -> Planned:
        return find_plan(graph, machine, inputs, goal=goal)

    chosen, planned, gain = best_rewritten(graph, machine, inputs, RewriteOptions(), plan)
    before = plan(graph).plan
    seconds = (
        (planned.plan.period, before.period)
        if goal == "throughput"
        else (planned.plan.makespan, before.makespan)
    )
    assert seconds[0] <= seconds[1] == gain.before
    assert gain.is_taken == (gain.after < gain.before) == (chosen is not graph)


def test_nothing_is_rewritten_for_a_device_without_relu(tmp_path: Path) -> None:
    shipped = Path(sparsegen_devices.__file__).parent / "shipped" / "relu-conv.toml"
    table_file, devices = tmp_path / "bare.toml", tmp_path / "devices.toml"
    table_file.write_text(shipped.read_text().replace('"relu", ', ""))
    devices.write_text(EDGE.replace("edgetpu-usb3", str(table_file)))
    told = "has no relu, which nothing replaces: it has add, concat, conv"
    for arguments in (
        ("rewrite", MODEL, "--device", str(table_file)),
        ("place", MODEL, "--devices", str(devices), "--rewrite"),
    ):
        result = sparsegen(*arguments)
        assert result.exit_code == 1
        assert told in result.output


def test_a_rewriting_needs_an_accelerator() -> None:
    assert "nothing to rewrite for" in sparsegen("place", MODEL, "--rewrite").output
    assert "ask for rewrite" in sparsegen("place", MODEL, "--max-error", "1e-2").output
