"""`sparsegen rewrite` and `place --rewrite`, end to end on small models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from sparsegen.devices import describe_graph, table, unsupported
from sparsegen.frontend import from_torch, load_program
from sparsegen.hetero.rewriting.report import layers_on_host
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


def shrunk() -> nn.Module:
    """A function that jumps, which nothing replaces."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardshrink(0.5))


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
    assert "1 operators are left that edgetpu-usb3 does not run: hardshrink" in result.output
    assert not output.exists()
    assert sparsegen(*arguments, "--partial").exit_code == 0
    assert output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "nope"), "there is no table 'nope'"),
        (("--device", "gpu", "--max-error", "nan"), "max_error is nan"),
        (("--device", "edgetpu-usb3", "--max-error", "-1"), "give a number, at least 0"),
        (("--device", "edgetpu-usb3", "--end-to-end", "1e-2"), "give them, as .npy or .npz"),
        (("--device", "edgetpu-usb3", "--end-to-end", "0"), "give a number above 0"),
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


def test_a_rewriting_needs_an_accelerator() -> None:
    assert "nothing to rewrite for" in sparsegen("place", MODEL, "--rewrite").output
    assert "ask for rewrite" in sparsegen("place", MODEL, "--max-error", "1e-2").output
