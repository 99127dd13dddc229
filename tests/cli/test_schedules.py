"""`sparsegen schedules` as it is typed: exports, tables, JSON lines, and bad input in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from sparsegen.database.journal import Journal
from tests.database.records import CONV, ELSEWHERE, HERE, POOL, race, trial

LINEAR = replace(
    CONV,
    operator="linear",
    input=(16, 512),
    output=(16, 1000),
    parameters=(("weight", (1000, 512)),),
    structure="2:4",
)
STRIDED = replace(
    CONV,
    parameters=(("weight", (64, 1, 3, 3)), ("stride", (2, 2)), ("groups", 64)),
    structure="dense",
    density=1.0,
)


def schedules(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["schedules", *arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schedules").mkdir()
    return tmp_path


@pytest.fixture
def journal() -> str:
    one = replace(HERE, threads=1)
    with Journal.open("night.jsonl") as log:
        log.append(trial(9, 0.1, setting=ELSEWHERE))
        log.append(trial(4, 2.0, origin="default"))
        log.append(trial(5, 1.5))
        log.append(race({4: 2.1, 5: 1.4}))
        log.append(trial(2, 0.125, workload=POOL, setting=one))
        log.append(trial(3, 0.25, workload=LINEAR, setting=one))
        log.append(trial(3, 0.75, workload=STRIDED, setting=one))
        log.append(trial(6, workload=POOL, setting=replace(one, threads=16)))
    return "night.jsonl"


def test_the_winners_are_exported_and_shown(journal: str) -> None:
    result = schedules("export", journal)
    assert result.exit_code == 0, result.output
    assert result.stdout == "4 new schedules in schedules/znver5.json\n"
    content = json.loads(Path("schedules/znver5.json").read_text())
    assert [(entry["threads"], entry["schedule"]["rows"]) for entry in content["schedules"]] == [
        (1, 3), (1, 3), (1, 2), (2, 5)
    ]  # fmt: skip
    assert schedules("export", journal).stdout == "0 new schedules in schedules/znver5.json\n"
    result = schedules("show", "schedules/znver5.json")
    assert result.exit_code == 0, result.output
    table = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "3x3 conv 64→64 at 56x56, 50% unstructured 16 2 rows 5 1.40 1.50x 2" in table
    assert "3x3 depthwise conv 64→64 at 56x56, stride 2, dense 16 1 rows 3 0.750 1" in table
    assert "linear 512→1000, 2:4 16 1 rows 3 0.250 1" in table
    assert "3x3 max pool 64 at 112x112, dense 16 1 rows 2 0.125 1" in table
    assert "measured on AMD EPYC 9B45 (znver5, AVX-512), sparsegen 0.1.0, TVM 0.27.0" in table


def test_a_journal_is_shown_too(journal: str) -> None:
    result = schedules("show", journal)
    assert result.exit_code == 0, result.output
    assert "1.50x" in result.stdout
    assert "measured on AMD EPYC 9755" in result.stdout


def test_the_shipped_schedules_are_shown() -> None:
    result = schedules("show")
    assert result.exit_code == 0, result.output
    assert "measured on" in result.stdout or "has no tuned schedules" in result.stdout


def test_the_best_are_json_lines(journal: str) -> None:
    result = schedules("best", journal, "--workload", "3x3 conv*unstructured, batch 16")
    assert result.exit_code == 0, result.output
    elsewhere, here = map(json.loads, result.stdout.splitlines())
    assert elsewhere["setting"]["machine"] == "AMD EPYC 9755"
    assert here == {
        "workload": json.loads(json.dumps(CONV.as_dict())),
        "setting": HERE.as_dict(),
        "kernel": "panels",
        "schedule": {"rows": 5},
        "ms": 1.4,
        "default_ms": 2.1,
        "trials": 2,
    }
    assert len(schedules("best", journal).stdout.splitlines()) == 5


def test_damaged_lines_are_one_warning(journal: str) -> None:
    Path(journal).write_bytes(Path(journal).read_bytes() + b"\x00\n")
    result = schedules("export", journal)
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: night.jsonl: 1 line was skipped, the first of them line ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "absent.json"), "cannot read absent.json: No such file"),
        (("show", "."), "is a folder"),
        (("best", "text.txt"), "text.txt is neither a journal of trials nor a file of exported schedules"),
        (
            ("best", "night.jsonl", "--workload", "lstm*"),
            "no workload matches 'lstm*'; there are: 3x3 conv 64→64 at 56x56",
        ),
        (("export", "text.txt"), "text.txt is no journal: it begins with 'hello'"),
        (("export", "absent.jsonl"), "cannot read absent.jsonl"),
        (("export", "empty.jsonl"), "no trial in the journal ended well"),
        (("export", "newer.jsonl"), "newer.jsonl is a journal of schema 9"),
        (("export", "night.jsonl", "-o", "absent/a.json"), "there is no folder absent"),
        (("export", "night.jsonl", "-o", "schedules"), "is a folder"),
        (("export", "night.jsonl", "-o", "text.txt"), "let the path end in .json"),
        (("export", "night.jsonl", "-o", "night.jsonl"), "let the path end in .json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], message: str, journal: str) -> None:
    Path("text.txt").write_text("hello")
    Path("empty.jsonl").touch()
    Path("newer.jsonl").write_text('{"type":"header","schema":9}\n')
    before = Path(journal).read_bytes()
    result = schedules(*arguments)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in result.output
    assert Path(journal).read_bytes() == before
