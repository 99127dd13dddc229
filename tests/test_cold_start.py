"""Cold starts: the clock stops at a process's first result, and other engines start in their environments."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.cold_start import Starter, measure, peers
from sparsegen.errors import MeasurementError
from tests.compare.test_engines import Peers

ENGINE = """
from pathlib import Path

def load(model, inputs, threads):
    assert Path(model).name == "model.onnx" and [each.shape for each in inputs] == [(2, 3)] and threads == 2
    return lambda: print("ran")
"""


def python(code: str, *, last: str | None = "there") -> Starter:
    return Starter([sys.executable, "-S", "-c", code], last=last)


def test_the_clock_stops_at_the_first_result(tmp_path: Path) -> None:
    code = "import time; print('a banner'); print('there', flush=True); time.sleep(1); print('more')"
    began = time.perf_counter()
    first = python(code).seconds(tmp_path)
    assert first < time.perf_counter() - began - 0.9
    assert python("import time; time.sleep(0.2)", last=None).seconds(tmp_path) > 0.2


def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"ended with status 1: .*no such model"):
        python("raise SystemExit('no such model')").seconds(tmp_path)


def test_the_first_start_is_not_counted(tmp_path: Path) -> None:
    found = measure({"a": python("print('there')")}, 2, tmp_path)
    assert [len(times) for times in found.values()] == [2]


def test_engines_are_started_on_the_model_or_told_as_absent(tmp_path: Path) -> None:
    folder = Peers(tmp_path / "peers")
    engines = {"one": folder.add("one", ENGINE), "two": tmp_path}
    model, inputs = nn.Linear(3, 4).eval(), (torch.ones(2, 3),)
    found, absent = peers(engines, model, inputs, 2, tmp_path)
    assert absent == {"two": "it is not installed: `make peers` does that"}
    assert list(found) == ["one"]
    assert found["one"].seconds(tmp_path) > 0
    assert (tmp_path / "model.onnx").stat().st_size
    assert peers({}, model, inputs, 2, tmp_path) == ({}, {})
