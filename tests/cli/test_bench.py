"""`sparsegen bench` as it is typed: without torch and TVM, and with nothing left running after a Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.packaging.bench.conftest import code as code
from tests.packaging.bench.conftest import file as file

MANY = str(min(2, len(os.sched_getaffinity(0))))
ALONE = """
import sys
sys.modules.update(torch=None, tvm=None)
from sparsegen.cli import main
main()
"""
LIMIT_S = 60.0  # on a busy machine


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", ALONE, "bench", *map(str, arguments)]


@pytest.fixture
def measuring(file: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A command that measures for a long time, and its instances."""
    process = subprocess.Popen(
        command(file, "--instances", MANY, "--threads", "1", "--seconds", "600"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    instances = [int(child) for child in children]
    assert len(instances) == int(MANY)
    try:
        yield process, instances
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def are_gone(pids: list[int]) -> bool:
    until = time.monotonic() + LIMIT_S
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _runs(pid: int) -> bool:
    """Whether there is such a process, but for one that has ended and that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_file_is_measured_without_torch(file: Path, tmp_path: Path) -> None:
    arguments = ("--instances", MANY, "--threads", "1", "--seconds", "0.2", "--json", tmp_path / "b.json")
    done = subprocess.run(command(file, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "measuring for 0.2 s" in done.stderr
    assert "calls/s" in done.stdout
    assert "for each further one" in done.stdout
    told = json.loads((tmp_path / "b.json").read_text())
    assert len(told["instances"]) == int(MANY)
    assert told["calls_per_second"] > 0


def test_ctrl_c_ends_all(measuring: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, instances = measuring
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped"
    assert "Traceback" not in errors
    assert are_gone(instances)


def test_instances_die_with_the_command(measuring: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, instances = measuring
    process.kill()
    assert are_gone(instances)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "none: the file cannot be opened"),
        (("none", "--seconds", "0"), "seconds is 0"),
        (("none", "--json", "/no such folder/b.json"), "there is no folder"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    from typer.testing import CliRunner

    from sparsegen.cli.app import app

    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("error: ")
