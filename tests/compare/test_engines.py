"""Engines in processes of their own: found, started, timed, and told as absent."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sparsegen.compare import compare, engines
from sparsegen.compare.engines import PEERS, find_engines, started
from sparsegen.compare.report import OURS
from sparsegen.errors import EngineError, SparsegenError, ToolchainError
from sparsegen.progress import Steps

STEADY = """
import numpy as np
from pathlib import Path

VERSION = "1.2"

def load(model, inputs, threads):
    print("a banner")
    assert Path(model).stat().st_size
    assert [image.shape for image in inputs] == [(2, 3)]
    assert threads == 1
    return lambda: [np.load(Path(__file__).parent / "result.npy")]
"""


REAL = """
import os
from onnx.reference import ReferenceEvaluator

VERSION = "3.0"

def load(model, inputs, threads):
    session = ReferenceEvaluator(model)
    runs = iter(range(LASTS))

    def run():
        if next(runs, None) is None:
            DIE
        return session.run(None, dict(zip(session.input_names, inputs)))

    return run
"""
"""Runs any model, so many times."""


class Peers:
    """A folder of engines that run on this very Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        shutil.copy(PEERS / "serve.py", folder)

    def add(self, name: str, source: str) -> Path:
        engine = self.folder / name
        (engine / ".venv" / "bin").mkdir(parents=True)
        python = engine / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (engine / "engine.py").write_text(source)
        return engine


@pytest.fixture
def peers(tmp_path: Path) -> Peers:
    return Peers(tmp_path / "peers")


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 4).eval()


INPUTS = (torch.ones(2, 3),)


def outcome(engines: dict[str, Path], model: nn.Module) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Some times of every engine that runs, and why others do not."""
    with torch.no_grad():
        reference = model.double()(INPUTS[0].double())
        model.float()
        with started(engines, model, INPUTS, reference, threads=1, steps=Steps(None, total=9)) as (
            running,
            absent,
        ):
            return {name: [engine.seconds() for _ in range(3)] for name, engine in running.items()}, absent


def test_an_engine_is_timed_in_its_own_process(peers: Peers, model: nn.Module) -> None:
    engine = peers.add("steady", STEADY)
    with torch.no_grad():
        np.save(engine / "result.npy", model(INPUTS[0]).numpy())
    times, absent = outcome({"steady": engine}, model)
    assert absent == {}
    assert all(0 < time < 5 for time in times["steady"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (STEADY, "its result differs from float64 by"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        (
            "VERSION = '1'\ndef load(*_):\n    raise ValueError('no such opset\\nand more')",
            "ValueError: no such opset",
        ),
        ("import os\nos.kill(os.getpid(), 11)", "its process ended with status -11"),
    ],
    ids=["wrong result", "not importable", "refuses the model", "crash"],
)
def test_an_engine_that_fails_is_absent(peers: Peers, model: nn.Module, source: str, reason: str) -> None:
    engine = peers.add("broken", source)
    np.save(engine / "result.npy", np.full((2, 4), 9.0))
    times, absent = outcome({"broken": engine}, model)
    assert times == {}
    assert absent["broken"].startswith(reason)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "its process ended with status -9"),
        ("raise RuntimeError('out of memory')", "RuntimeError: out of memory"),
        ("os.closerange(3, 64); import time; time.sleep(600)", "its process ended with status -9"),
    ],
    ids=["dies", "fails", "hangs up"],
)
def test_an_engine_that_fails_while_it_is_timed_is_ended_and_tells_why(
    peers: Peers, model: nn.Module, monkeypatch: pytest.MonkeyPatch, end: str, reason: str
) -> None:
    monkeypatch.setattr(engines, "_ENDING_S", 0.1)
    folder = peers.add("dying", REAL.replace("LASTS", "4").replace("DIE", end))
    with torch.no_grad():
        reference = model(INPUTS[0]).double()
        with started({"dying": folder}, model, INPUTS, reference, threads=1, steps=Steps(None, total=9)) as (
            running,
            absent,
        ):
            assert absent == {}
            engine = running["dying"]
            assert engine.seconds() > 0  # the second and the third run
            assert engine.failure is None
            with pytest.raises(EngineError, match=reason):
                engine.seconds()
            assert engine.failure == f"it failed while it was timed: {reason}"
            assert engine._process.poll() is not None


def test_an_engine_that_dies_while_it_is_timed_costs_nothing_else(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The C++ compiler behind torch.compile takes longer than everything else here.
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    peers.add("steady", REAL.replace("LASTS", "99"))
    peers.add("dying", REAL.replace("LASTS", "10").replace("DIE", "os.kill(os.getpid(), 9)"))
    comparison = compare(
        "tests.cli.networks:small", batch=2, input_shape=(3, 12, 12), threads=1, samples=3, layers="4",
        peers=("steady", "dying"), peers_folder=peers.folder,
    )  # fmt: skip
    network = comparison.end_to_end
    assert network is not None
    assert [layer.name for layer in comparison.layers] == ["4"]
    assert set(network.race.engines) == set(network.engines) == {"steady"}
    reason = "it failed while it was timed: its process ended with status -9"
    assert network.absent == {"dying": reason}
    assert set(network.race.dense) == {"torch-nchw", "torch-nhwc", "torch-compile", OURS}
    assert json.loads(comparison.to_json())["end_to_end"]["absent"] == network.absent


def test_no_engine_takes_a_model_that_onnx_cannot_say(peers: Peers) -> None:
    class Bessel(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x)

    times, absent = outcome({"steady": peers.add("steady", STEADY)}, Bessel().eval())
    assert times == {}
    assert absent["steady"].startswith("the model cannot be exported to ONNX: ")
    assert "bessel_j0" in absent["steady"]


def test_an_engine_that_is_not_installed_is_absent(peers: Peers, model: nn.Module) -> None:
    missing, failed = peers.add("missing", STEADY), peers.add("failed", STEADY)
    shutil.rmtree(missing / ".venv")
    shutil.rmtree(failed / ".venv")
    (failed / ".failed").write_text("no wheel for this Python\n")
    _, absent = outcome({"missing": missing, "failed": failed}, model)
    assert absent == {
        "missing": "it is not installed: `make peers` does that",
        "failed": "it could not be installed: no wheel for this Python",
    }


def test_an_engine_that_cannot_be_started_is_absent(peers: Peers, model: nn.Module) -> None:
    engine = peers.add("steady", STEADY)
    (engine / ".venv" / "bin" / "python").chmod(0o644)
    assert outcome({"steady": engine}, model) == ({}, {"steady": "it cannot be started: Permission denied"})


def test_an_engine_with_other_outputs_is_absent(peers: Peers, model: nn.Module) -> None:
    engine = peers.add("other", STEADY)
    np.save(engine / "result.npy", np.zeros((4, 2)))
    _, absent = outcome({"other": engine}, model)
    assert absent == {"other": "its outputs have shapes [(4, 2)], and the model's have [(2, 4)]"}


def test_engines_are_found_by_name(peers: Peers) -> None:
    one, two = peers.add("one", STEADY), peers.add("two", STEADY)
    assert find_engines(["all"], peers.folder) == {"one": one, "two": two}
    assert find_engines(["two"], peers.folder) == {"two": two}
    with pytest.raises(SparsegenError, match=r"no engine 'three' in .*: it has all, one, two"):
        find_engines(["three"], peers.folder)


def test_onnx_is_missed_before_anything_is_measured(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    peers.add("steady", STEADY)
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="onnx is missing: pip install onnx"):
        find_engines(["steady"], peers.folder)


def test_a_folder_without_engines_is_named(tmp_path: Path) -> None:
    with pytest.raises(SparsegenError, match="has no engines to compare with"):
        find_engines(["all"], tmp_path)


def test_the_checkout_has_the_engines_that_people_compare_with() -> None:
    assert {"deepsparse", "onnxruntime", "openvino"} <= find_engines(["all"], PEERS).keys()
