"""`sparsegen tune` as it is typed: runs that go on, that are interrupted, reports, bad input in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from sparsegen.database.journal import Journal, read_journal
from tests.cli.networks import small
from tests.preloaded import run, start

SMALL = ("tests.cli.networks:small", "--input-shape", "3x12x12", "--batch", "16", "--threads", "1")
INTERRUPTED = 130
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
STARTING = """
import builtins, signal
from sparsegen.cli import main
plain = builtins.__import__
def interrupted(name, *rest):
    if name == "torch":
        signal.raise_signal(signal.SIGINT)
    return plain(name, *rest)
builtins.__import__ = interrupted
main()
"""
LIMITED = """
import resource
from sparsegen.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
main()
"""


def tune(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tune", *SMALL, *arguments])


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of 24 trials of layer 2."""
    path = tmp_path_factory.mktemp("tune") / "small.jsonl"
    result = tune("--trials", "24", "--layers", "2", "--journal", str(path))
    assert result.exit_code == 0, result.output
    return path


def test_a_run_from_end_to_end(journal: Path) -> None:
    log = read_journal(journal)
    assert len(log.trials) == 24
    assert {trial.status for trial in log.trials} == {"ok"}
    assert {trial.workload.density for trial in log.trials} == {0.5}
    assert len(log.races) == 1


def test_the_same_command_goes_on(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(journal.read_bytes())
    result = tune("--trials", "28", "--layers", "2", "--journal", str(path))
    assert result.exit_code == 0, result.output
    trials = read_journal(path).trials
    assert len(trials) == 28
    assert len({tuple(trial.schedule.items()) for trial in trials}) == 28


def test_a_report_of_what_was_measured(journal: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    result = tune("--journal", str(journal), "--report", str(picture), "--against", str(journal))
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "3x3 conv 8" in result.stdout


def test_an_interrupt_keeps_everything_and_ends_within_seconds(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    tuner = start("-m", "sparsegen", "tune", *SMALL, "--hours", "1", "--journal", str(path))
    until = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b'"type":"trial"') < 5:
        assert time.monotonic() < until
        time.sleep(0.05)
    tuner.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    done = tuner.result(60)
    assert time.monotonic() - began < 5
    assert done.returncode == INTERRUPTED
    assert "the same command goes on from there" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    with Journal.open(path) as journal:
        assert len(journal.log.trials) >= 4  # the fifth may have been on its way to the disk


def unreachable() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a number of trials or of hours: neither was given"),
        (("--trials", "5", "--hours", "1"), "both were given"),
        (("--trials", "0"), "trials is 0: give at least 1"),
        (("--hours", "-1"), "hours is -1.0: give a time above 0"),
        (("--hours", "0"), "hours is 0.0: give a time above 0"),
        (
            ("--trials", "5", "--layers", "nope*"),
            "no layer that can be tuned matches 'nope*'; there are: 0, 2",
        ),
        (("--trials", "5", "--threads", "0"), "threads is 0"),
        (("--trials", "5", "--batch", "0"), "batch is 0: give at least 1"),
        (("--trials", "5", "--patience", "-1"), "patience is -1: give at least 0"),
        (("--trials", "5", "--search", "grid"), "search is 'grid': give one of evolution, random"),
        (("--trials", "5", "--structure", "stripes"), "stripes"),
        (("--trials", "5", "--rpc", "127.0.0.1:9190"), "needs both the tracker's HOST:PORT (rpc) and"),
        (("--trials", "5", "--key", "k"), "needs both the tracker's HOST:PORT (rpc) and"),
        (("--trials", "5", "--rpc", "nowhere", "--key", "k"), "'nowhere' is no address of an RPC tracker"),
        (("--trials", "5", "--rpc", unreachable(), "--key", "k"), "tracker"),
        (("--trials", "5", "--journal", "/nonexistent/log.jsonl"), "there is no folder /nonexistent"),
        (("--trials", "5", "--journal", "/dev"), "is a folder: give the path of a file"),
        (("--trials", "5", "--journal", "/dev/full"), "is no ordinary file: give another path"),
        (("--trials", "5", "--prior", "/nonexistent.jsonl"), "cannot read /nonexistent.jsonl"),
        (("--report", "/nonexistent/a.png"), "--report /nonexistent/a.png: there is no folder"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = tune(*arguments)
    assert result.exit_code == 1, result.output
    error = result.stderr[result.stderr.index("error: ") :]
    assert message in error
    assert error.count("\n") == 1


def test_the_journal_of_a_file_is_of_its_own_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.export.save(torch.export.export(small().eval(), (torch.randn(3, 3, 12, 12),)), "small.pt2")
    arguments = ["tune", "small.pt2", "--threads", "1", "--trials", "1", "--layers", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "tuning_logs").glob("*.jsonl")
    assert path.name == "small-batch3-threads1.jsonl"


def test_a_journal_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as for a user who may not
    result = tune("--trials", "5", "--journal", str(tmp_path / "log.jsonl"))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_a_journal_that_is_in_use(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "log.jsonl"):
        result = tune("--trials", "5", "--journal", str(tmp_path / "log.jsonl"))
    assert result.exit_code == 1
    assert "is in use" in result.stderr


def test_without_a_journal_there_is_one_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = tune("--trials", "2", "--layers", "2")
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "tuning_logs").glob("*.jsonl")
    assert path.name == "tests.cli.networks.small-batch16-threads1.jsonl"
    assert len(read_journal(path).trials) == 2


def test_a_folder_for_journals_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tuning_logs").touch()
    result = tune("--trials", "2")
    assert result.exit_code == 1
    assert "error: cannot make the folder" in result.stderr
    assert "give the path of a journal elsewhere" in result.stderr


def test_an_interrupt_at_the_start_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    """While torch and TVM are imported: an exception there comes out as whatever the import makes of it."""
    command = [sys.executable, "-c", STARTING, "tune", *SMALL, "--trials", "5", "--journal", "log.jsonl"]
    result = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (INTERRUPTED, "stopped before anything was measured\n")


def test_a_journal_that_cannot_grow_stops_the_run_with_a_message(tmp_path: Path) -> None:
    """The limit is the kernel's, of a file's size: the journal has reached it, temporary files have not."""
    path, size = tmp_path / "log.jsonl", 32 << 20
    path.write_bytes(b'{"type":"header","schema":1}\n' + size * b" " + b"\n")
    result = run("-c", LIMITED.format(size + 100), "tune", *SMALL, "--trials", "5", "--journal", str(path))
    assert result.returncode == 1, result.stderr
    assert f"error: cannot write {path}: File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert read_journal(path).trials == []
