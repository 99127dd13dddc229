"""Bad input of the commands of bench/: one line and status 2, never a traceback."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import compile_time
from bench.compile_time import Setting

BENCH = Path(__file__).parents[1] / "bench"
UNWRITABLE = ("--json", "/no such folder/results.json")
NO_MODEL = {"model": "nosuchmodel", "batch": 1, "threads": 1, "target": "native", "sparsity": 0.5}
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "check": (("--keep", "--results", "/dev/null"), "Not a directory"),
    "captioning": (UNWRITABLE, "there is no folder"),
    "cold_start": (UNWRITABLE, "there is no folder"),
    "column_combining": (UNWRITABLE, "there is no folder"),
    "compile_time": (("--one", json.dumps(NO_MODEL)), "pytorchcv has no model 'nosuchmodel'"),
    "cost_prediction": (UNWRITABLE, "there is no folder"),
    "coverage": (UNWRITABLE, "there is no folder"),
    "device_tables": (UNWRITABLE, "there is no folder"),
    "epilogues": (UNWRITABLE, "there is no folder"),
    "finetune_digits": (UNWRITABLE, "there is no folder"),
    "finetune_vowels": (UNWRITABLE, "there is no folder"),
    "instances": (UNWRITABLE, "there is no folder"),
    "interoperator": (UNWRITABLE, "there is no folder"),
    "mixed": (UNWRITABLE, "there is no folder"),
    "permutation": (UNWRITABLE, "there is no folder"),
    "placement": (UNWRITABLE, "there is no folder"),
    "race": (("--folder", "/dev/null/race"), "Not a directory"),
    "recurrent": (UNWRITABLE, "there is no folder"),
    "relu_approximation": (UNWRITABLE, "there is no folder"),
    "rewriting": (UNWRITABLE, "there is no folder"),
    "same": (("--against", "nosuchcommit"), "nosuchcommit cannot be checked out"),
    "seed_figures": (UNWRITABLE, "there is no folder"),
    "simulated": (UNWRITABLE, "there is no folder"),
    "sparse_winograd": (UNWRITABLE, "there is no folder"),
    "team": (UNWRITABLE, "there is no folder"),
    "throughput": (UNWRITABLE, "there is no folder"),
    "torch_backend": (UNWRITABLE, "there is no folder"),
    "trained_layers": (UNWRITABLE, "there is no folder"),
    "tuning": (("/dev/null/tuning",), "Not a directory"),
}


def test_these_are_all() -> None:
    commands = {path.stem for path in BENCH.glob("*.py") if "\ndef main(" in path.read_text()}
    assert commands == WRONG.keys()


@pytest.fixture
def threads_of_torch() -> Iterator[None]:
    """Leave them as they were: some commands have their own."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("threads_of_torch")
@pytest.mark.filterwarnings("ignore:'bench:RuntimeWarning")  # other tests have imported some of them
@pytest.mark.parametrize("command", WRONG)
def test_bad_input_is_one_line_and_status_2(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As `python -m bench.COMMAND` runs them, in this process: what they import takes seconds."""
    arguments, message = WRONG[command]
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"bench.{command}", run_name="__main__", alter_sys=True)
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_compilation_that_fails_apart_has_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess((), 2, stdout="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match="2"):
        compile_time.measure_apart(Setting(**NO_MODEL))  # type: ignore[arg-type]
