"""Exported files, and those that come with the package: written, merged, installed, read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.database.exported import as_text, export_schedules, parse_exported
from sparsegen.database.journal import Log
from sparsegen.database.lookup import Database
from sparsegen.database.trial import Trial
from sparsegen.database.tuned import Tuned
from sparsegen.database.workload import Setting
from sparsegen.errors import SparsegenError
from tests.database.records import CONV, ELSEWHERE, HERE, POOL, trial, workloads

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "znver5.json"


def export(path: Path, *trials: Trial, setting: Setting = HERE) -> list[Tuned]:
    return export_schedules(Log(trials=list(trials)), setting, path)


def rows(path: Path) -> dict[tuple[str, int], Any]:
    """Rows by operator and threads."""
    found = parse_exported(path, path.read_bytes())
    return {(tuned.workload.operator, tuned.setting.threads): tuned.schedule["rows"] for tuned in found}


def test_files_are_short_and_can_be_read(path: Path) -> None:
    export(path, trial(4, 2.0, origin="default"), trial(5, 1.5), trial(3, 9.0, workload=POOL))
    text = path.read_text()
    assert len(text.splitlines()) == 2 + 5 + 1 + 2 * 3 + 2
    assert max(map(len, text.splitlines())) < 300
    content = json.loads(text)
    assert {name: content[name] for name in content if name != "schedules"} == {
        "schema": 1,
        "cpu": "znver5",
        "isa": "AVX-512",
        "machine": "AMD EPYC 9B45",
        "sparsegen": "0.1.0",
        "tvm": "0.27.0",
    }
    assert content["schedules"][0] == {
        "threads": 2,
        "ms": 1.5,
        "default_ms": 2.0,
        "trials": 2,
        "workload": json.loads(json.dumps(CONV.as_dict())),
        "kernel": "panels",
        "schedule": {"rows": 5},
    }
    assert content["schedules"][1]["default_ms"] is None


@given(st.lists(st.tuples(workloads, st.integers(1, 4)), max_size=5))
def test_what_is_written_is_read_back_in_one_order(keys: list[tuple[Any, int]]) -> None:
    schedules = [
        Tuned(workload, replace(HERE, threads=threads), "panels", {"rows": 4}, 1.5, None, 1)
        for workload, threads in keys
    ]
    text = as_text(HERE, schedules)
    found = parse_exported("a.json", text.encode())
    assert sorted(map(repr, found)) == sorted(map(repr, schedules))
    assert as_text(HERE, reversed(found)) == text


def test_other_threads_and_workloads_stay(path: Path) -> None:
    one = replace(HERE, threads=1)
    export(path, trial(4, 2.0), trial(6, 1.0, workload=POOL))
    assert len(export(path, trial(5, 3.0, setting=one), setting=one)) == 1
    assert rows(path) == {("conv2d", 1): 5, ("conv2d", 2): 4, ("pool2d", 2): 6}


def test_the_faster_stays_on_one_machine(path: Path) -> None:
    export(path, trial(4, 2.0))
    assert export(path, trial(5, 2.5)) == []
    assert rows(path) == {("conv2d", 2): 4}
    assert len(export(path, trial(6, 1.5))) == 1
    assert rows(path) == {("conv2d", 2): 6}
    before = path.read_text()
    assert export(path, trial(6, 1.5)) == []
    assert path.read_text() == before


def test_times_of_another_machine_or_version_say_nothing(path: Path) -> None:
    export(path, trial(4, 2.0))
    export(path, trial(5, 2.5, setting=ELSEWHERE), setting=ELSEWHERE)
    assert rows(path) == {("conv2d", 2): 5}
    assert json.loads(path.read_text())["machine"] == ELSEWHERE.machine


def test_only_the_settings_own_trials_are_exported(path: Path) -> None:
    with pytest.raises(SparsegenError, match="no schedule was measured on AMD EPYC 9B45 with 2 threads"):
        export(path, trial(5, 2.5, setting=ELSEWHERE), trial(4))
    assert not path.exists()


def test_a_file_of_another_family_is_left_alone(path: Path) -> None:
    haswell = replace(HERE, cpu="haswell", isa="AVX2")
    export(path, trial(4, 2.0))
    before = path.read_text()
    with pytest.raises(SparsegenError, match=r"schedules of znver5 \(AVX-512\), and these are of haswell"):
        export(path, trial(5, 1.0, setting=haswell), setting=haswell)
    assert path.read_text() == before
    path.write_text("{}")
    with pytest.raises(SparsegenError, match="neither a journal of trials nor a file of exported"):
        export(path, trial(4, 2.0))
    assert path.read_text() == "{}"


def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    export(path, trial(4, 2.0))
    before = path.read_text()
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(SparsegenError, match=r"cannot write .*znver5\.json: No space left"):
        export(path, trial(5, 1.0))
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(SparsegenError, match="there is no folder"):
        export(path.parent / "absent" / "a.json", trial(5, 1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 2, and this version of sparsegen reads schedules of schemas up to 1"),
        ({"schema": "one"}, "has schema 'one'"),
        ({"schema": True}, "has schema True"),
        ({"schedules": 7}, "is neither a journal"),
        ({"schedules": [7]}, "schedule 1 of 1 cannot be read"),
        ({"schedules": [{"threads": 1}]}, r"schedule 1 of 1 cannot be read \(KeyError: 'default_ms'\)"),
        ({"cpu": 1.5, "schedules": None}, "is neither a journal"),
    ],
    ids=str,
)
def test_files_that_cannot_be_read(path: Path, change: dict[str, Any], message: str) -> None:
    content = json.loads(as_text(HERE, [])) | change
    with pytest.raises(SparsegenError, match=message):
        parse_exported(path, json.dumps(content).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workload", {}),
        ("density", 2),
        ("density", "half"),
        ("schedule", [4]),
        ("ms", "fast"),
        ("threads", []),
    ],
)
def test_entries_that_cannot_be_read(path: Path, field: str, value: Any) -> None:
    export(path, trial(4, 2.0), trial(3, 1.0, workload=POOL))
    content = json.loads(path.read_text())
    entry = content["schedules"][1]
    (entry["workload"] if field == "density" else entry)[field] = value
    with pytest.raises(SparsegenError, match="schedule 2 of 2 cannot be read"):
        parse_exported(path, json.dumps(content).encode())


def test_what_is_shipped_can_be_read() -> None:
    files = sorted(path.name for path in (ROOT / "schedules").glob("*.json"))
    assert [source.name for source in Database.shipped().sources] == files
    for source in Database.shipped().sources:
        assert source.portable
        assert {f"{tuned.setting.cpu}.json" for tuned in source.schedules} == {source.name}
        text = (ROOT / "schedules" / source.name).read_text()
        assert as_text(source.schedules[0].setting, source.schedules) == text


def test_the_schedules_are_installed(tmp_path: Path) -> None:
    """From the source distribution, so that both it and the wheel have them."""
    tree, target = tmp_path / "tree", tmp_path / "target"
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("sparsegen", "schedules"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, tree)
    (tree / "schedules" / "test.json").write_text(as_text(HERE, []))
    script = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    run([sys.executable, "-c", script], folder=tree)
    (archive,) = (tree / "dist").iterdir()
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    run(
        [*pip, "--target", str(target), str(tmp_path / archive.name.removesuffix(".tar.gz"))], folder=tmp_path
    )
    packages = {path.parent.relative_to(target) for path in (target / "sparsegen").rglob("__init__.py")}
    modules = {path.parent for path in (tree / "sparsegen").rglob("*.py")}
    runtime = tree / "sparsegen" / "runtime" / "native"  # a distribution of its own
    expected = {path.relative_to(tree) for path in modules if not path.is_relative_to(runtime)}
    assert packages == {*expected, Path("sparsegen", "schedules")}
    installed = {path.name for path in (target / "sparsegen" / "schedules").glob("*.json")}
    assert installed == {path.name for path in (tree / "schedules").glob("*.json")} >= {"test.json"}


def run(command: list[str], *, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
