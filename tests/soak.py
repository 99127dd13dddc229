"""A plugin: `--soak-result FOLDER` keeps what became of a whole run, for each folder of the tests.

The file is FOLDER/soak-CPU.json, CPU being LLVM's name of the machine's: what was checked, where, with which
versions, and what failed.
"""

from __future__ import annotations

import json
import platform
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

VERSIONS = ("sparsegen", "apache-tvm", "torch", "numpy", "hypothesis", "pytest")
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("sparsegen").addoption(
        "--soak-result",
        metavar="FOLDER",
        type=Path,
        help="write what became of the run to FOLDER/soak-CPU.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--soak-result")
    if folder is None or hasattr(config, "workerinput"):
        return
    if not folder.is_dir():
        raise pytest.UsageError(f"--soak-result {folder}: there is no such folder")
    arguments = [str(argument) for argument in config.invocation_params.args]
    config.pluginmanager.register(Record(folder, arguments))


class Record:
    """Counts outcomes by folder, and writes them down when the run is over."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        self.arguments = arguments
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: list[str] = []
        self._began = time.monotonic()
        self._path: Path | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = outcome_of(report)
        if outcome is None:
            return
        folder = PurePosixPath(report.nodeid.partition("::")[0]).parent
        self.outcomes[str(folder)][outcome] += 1
        if outcome in ("failed", "error"):
            self.failures.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        machine = describe_machine()
        self._path = self.folder / f"soak-{machine['target']}.json"
        seconds = round(time.monotonic() - self._began)
        result = self.result(machine, seconds=seconds, completed=exitstatus in (0, 1))
        self._path.write_text(json.dumps(result, indent=2) + "\n")

    def result(self, machine: dict[str, Any], *, seconds: int, completed: bool) -> dict[str, Any]:
        """What is written."""
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine,
            "versions": {"python": platform.python_version()}
            | {name: metadata.version(name) for name in VERSIONS},
            "arguments": self.arguments,
            "seconds": seconds,
            "completed": completed,
            "tests": {folder: dict(counts) for folder, counts in sorted(self.outcomes.items())},
            "failures": sorted(self.failures),
        }

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._path is not None:
            total = sum(self.outcomes.values(), Counter[str]())
            counts = ", ".join(f"{total[outcome]:,} {outcome}" for outcome in OUTCOMES if total[outcome])
            terminalreporter.write_line(f"soak: {counts or 'nothing ran'}; written to {self._path}")


def outcome_of(report: pytest.TestReport) -> str | None:
    """What a report says about its test: a failure outside the test is an "error"; None for a mere step."""
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if report.skipped:
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    return "passed" if report.when == "call" else None


def describe_machine() -> dict[str, Any]:
    """The CPU that code was generated for, and its cores."""
    from sparsegen.target import cpu_model, parse_target  # here, for TVM takes seconds to import

    target = parse_target()
    return {"cpu": cpu_model(), "target": target.name, "isa": target.isa, "cores": target.cores}
