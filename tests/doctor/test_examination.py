"""`sparsegen doctor` from end to end: processes that fail or crash, the table, JSON, the exit code."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from sparsegen.doctor import examination
from sparsegen.doctor.child import Answer, Child
from sparsegen.doctor.cpu import Cpu
from sparsegen.doctor.examination import NAMES, examine, run
from sparsegen.doctor.finding import Finding, as_data, worst
from sparsegen.doctor.schedules import Shipped
from sparsegen.doctor.show import print_findings
from sparsegen.doctor.torch_build import TorchBuild

FINE = Finding("caches", "ok", "L1 48 KiB", "tiles fit")
NOTED = Finding("huge pages", "note", "never", "slower", "echo madvise")
BROKEN = Finding("gcc", "broken", "not on the PATH", "kernels cannot be linked", "sudo apt-get install gcc")


def answer_of(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch, seconds: float = 60) -> Answer:
    (folder / "asked_here.py").write_text(f"from sparsegen.doctor.child import tell\n{source}\n")
    monkeypatch.syspath_prepend(folder)
    with Child("asked_here") as child:
        return child.answer(seconds)


def test_facts_that_were_told_before_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os\nprint('noise')\ntell(cpu='znver5')\nos.kill(os.getpid(), 11)"
    assert answer_of(tmp_path, source, monkeypatch) == Answer({"cpu": "znver5"}, "crashed (SIGSEGV)", True)


def test_an_error_is_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answer_of(tmp_path, "tell(a=1, b=[2])\nimport no_such_module", monkeypatch)
    assert found == Answer({"a": 1, "b": [2]}, "ModuleNotFoundError: No module named 'no_such_module'")


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answer_of(tmp_path, "import time\ntime.sleep(600)", monkeypatch, seconds=0.01)
    assert found.failure == "no answer in 0.01 s"


def test_a_system_that_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Child("asked_here") as child:
        assert "starts no process" in child.answer().failure


def test_what_lies_in_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tvm.py").write_text("raise SystemExit('the wrong one')")
    with Child("sparsegen.doctor.tvm_child") as child:
        found = child.answer()
    assert found.failure == ""
    assert found.facts["cpu"]["isa"]


def test_every_check_of_this_machine() -> None:
    findings = examine()
    assert [finding.name for finding in findings] == list(NAMES)
    assert worst(findings) != "broken", findings
    assert all(finding.found and finding.consequence for finding in findings)
    assert not [finding for finding in findings if "cannot be told" in finding.found]


def test_a_cpu_of_the_environments_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEGEN_HOST_CPU", "z80")
    found = {finding.name: finding for finding in examine()}
    assert found["instructions"].status == "broken"
    assert "'z80'" in found["instructions"].found
    assert {found[name].found for name in ("caches", "schedules")} == {
        "not looked at, as no code can be made here"
    }


def test_torch_that_answers_and_our_part_that_crashes() -> None:
    build = asdict(TorchBuild("2.13.0", "", 0, "AVX2", onednn=True, openmp=True, threads=2))
    crash = Answer({"torch": build}, "crashed (SIGSEGV)", crashed=True)
    found = run(examination._of_packages(Answer(failure="no TVM"), crash))
    assert found["torch"].status == "ok"
    assert (found["sparsegen"].status, found["TVM"].status) == ("broken", "broken")
    assert "crashed (SIGSEGV)" in found["sparsegen"].found
    assert found["instructions"].found == "not known, as TVM does not answer: no TVM"


def test_shipped_schedules_that_are_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> tuple[Shipped, ...]:
        raise KeyError("cpu")

    monkeypatch.setattr(examination, "read_shipped", damaged)
    found = examination._schedules(Cpu("EPYC", "znver5", "AVX-512"))
    assert found.status == "broken"
    assert "KeyError" in found.found


def test_a_check_that_fails_is_a_note_and_the_others_go_on() -> None:
    def failing() -> Finding:
        raise PermissionError("not for you")

    found = run({"load": failing, "caches": lambda: FINE})
    assert found["caches"] == FINE
    assert found["load"].found == "cannot be told (PermissionError: not for you)"
    assert found["load"].status == "note"


def doctor(findings: list[Finding], *arguments: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(examination, "examine", lambda: findings)
    return CliRunner().invoke(app, ["doctor", *arguments])


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ([FINE], 0, "nothing is broken, and there is nothing to note"),
        ([FINE, NOTED], 0, "nothing is broken; 1 of 2 checks have something to note"),
        ([FINE, NOTED, BROKEN], 1, "broken: gcc: models cannot be compiled here until that is mended"),
    ],
)
def test_only_what_is_broken_is_an_error(
    findings: list[Finding], code: int, summary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "doctor.json"
    result = doctor(findings, "--json", str(file), monkeypatch=monkeypatch)
    assert result.exit_code == code
    assert summary in result.stdout
    told = json.loads(file.read_text())
    assert told == as_data(findings)
    assert (told["schema"], told["status"]) == (1, worst(findings))
    assert told["checks"][0] == {
        "name": "caches", "status": "ok", "found": "L1 48 KiB", "consequence": "tiles fit", "next": "",
    }  # fmt: skip


def test_a_file_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    result = doctor([FINE], "--json", "missing/folder/a.json", monkeypatch=monkeypatch)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --json missing/folder/a.json: there is no folder")


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_fits(width: int) -> None:
    path = "/a" * 60
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    print_findings([Finding("OpenMP", "note", f"[bold]2 libraries: {path}", "slow", "env | grep X")], console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    text = "".join(line.strip() for line in lines)
    assert f"[bold]2 libraries:{path}" in text
    assert "next: env | grep X" in text
