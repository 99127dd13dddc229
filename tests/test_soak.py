"""What is kept of a soak: who ran what, what became of it by folder, and what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsegen.target import parse_target
from tests.soak import Record, describe_machine

MACHINE = {"cpu": "AMD EPYC 9B45", "target": "znver5", "isa": "AVX-512", "cores": 2}


def report(name: str, outcome: str, when: str = "call", **attributes: object) -> pytest.TestReport:
    return pytest.TestReport(name, (name, 1, name), {}, outcome, None, when, **attributes)  # type: ignore[arg-type]


def test_outcomes_are_counted_by_folder() -> None:
    record = Record(Path(), ["--soak"])
    for each in (
        report("tests/kernels/test_a.py::test_one", "passed", "setup"),
        report("tests/kernels/test_a.py::test_one", "passed"),
        report("tests/kernels/test_a.py::test_one", "passed", "teardown"),
        report("tests/kernels/test_a.py::test_two[a/b::c]", "failed"),
        report("tests/kernels/test_a.py::test_three", "skipped", "setup"),
        report("tests/test_b.py::test_four", "failed", "setup"),
        report("tests/test_b.py::test_five", "skipped", wasxfail="known"),
    ):
        record.pytest_runtest_logreport(each)
    found = record.result(MACHINE, seconds=61, completed=True)
    assert found["tests"] == {
        "tests": {"error": 1, "xfailed": 1},
        "tests/kernels": {"passed": 1, "failed": 1, "skipped": 1},
    }
    assert found["failures"] == ["tests/kernels/test_a.py::test_two[a/b::c]", "tests/test_b.py::test_four"]
    assert (found["machine"], found["arguments"]) == (MACHINE, ["--soak"])
    assert (found["seconds"], found["completed"]) == (61, True)
    assert {"python", "torch", "apache-tvm", "sparsegen"} <= found["versions"].keys()


def test_the_machine_is_this_one() -> None:
    target = parse_target()
    machine = describe_machine()
    assert machine.keys() == MACHINE.keys()
    assert (machine["target"], machine["isa"], machine["cores"]) == (target.name, target.isa, target.cores)
