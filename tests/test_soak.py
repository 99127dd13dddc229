"""A soak in pieces: what is kept of every group, what runs again, and how it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from sparsegen.target import parse_target
from tests import soak
from tests.preloaded import start

FIRST, SECOND = "tests/test_first.py", "tests/tuner"
ROOT = Path(__file__).parents[1]
LONG_S = 300.0  # on a busy machine
OPTIONS = ("-q", "-p", "tests.sampling")
SUITES = {
    FIRST: """
import pytest
from tests.sampling import large

@large(("number",), [(n,) for n in range(30)], sample=3)
def test_number(number): ...
""",
    f"{SECOND}/test_second.py": """
import os
import pytest

def test_good(): ...

@pytest.mark.skip(reason="for the test")
def test_skipped(): ...

def test_bad():
    assert "BAD" not in os.environ

def test_slow():
    if "SLOW" in os.environ:
        import pathlib, time
        pathlib.Path("slow").touch()
        time.sleep(300)
""",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tests, and pytest as those need it."""
    for name, text in SUITES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "sparsegen").mkdir()
    (tmp_path / "sparsegen" / "code.py").write_text("one = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(soak, "SHARES", {FIRST: 2})
    return tmp_path


def run(root: Path, *options: str) -> int:
    return soak.main(["--results", str(root / "results"), *options, *OPTIONS], root=root)


def kept(root: Path) -> dict[str, Any]:
    (path,) = (root / "results").glob("*/soak.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_file_is_in_one_group() -> None:
    groups = list(soak.groups(ROOT))
    files = {name for group in groups for name in group.paths}
    assert files == {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    assert len({group.name for group in groups}) == len(groups)
    for file in files:
        shares = [group.share for group in groups if file in group.paths]
        assert shares == [None] or shares == [f"{k}/{len(shares)}" for k in range(1, len(shares) + 1)]
    assert {group.name.partition(" ")[0] for group in groups if group.share} == soak.SHARES.keys()


def test_a_soak_goes_on_until_all_passed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(root, "--minutes", "0") == 0
    assert "0 of 3 groups passed, 0 failed, 3 left" in capfd.readouterr().out
    monkeypatch.setenv("BAD", "1")
    assert run(root) == 1
    told, groups = capfd.readouterr().out, kept(root)["groups"]
    assert groups.keys() == {f"{FIRST} 1/2", f"{FIRST} 2/2", SECOND}
    assert [groups[f"{FIRST} {share}/2"]["tests"] for share in (1, 2)] == [{"passed": 15}] * 2
    assert groups[SECOND]["tests"] == {"passed": 2, "skipped": 1, "failure": 1}
    assert groups[SECOND]["failures"] == ["tests.tuner.test_second::test_bad"]
    assert "2 of 3 groups passed, 1 failed, 0 left" in told
    assert f"failed: {SECOND}\n    tests.tuner.test_second::test_bad\n" in told
    monkeypatch.delenv("BAD")
    assert run(root) == 0
    told = capfd.readouterr().out
    assert f"group 1 of 1 left: {SECOND}" in told
    assert "3 of 3 groups passed, 0 failed, 0 left" in told
    assert kept(root)["groups"][SECOND]["failures"] == []
    (root / "sparsegen" / "code.py").write_text("one = 2\n")
    assert run(root, "--minutes", "0") == 0
    assert "0 of 3 groups passed, 0 failed, 3 left" in capfd.readouterr().out
    assert kept(root)["groups"][SECOND]["failures"] == []  # still there, of the code that it was


def test_what_is_kept_tells_machine_and_versions(root: Path) -> None:
    assert run(root, "--minutes", "0") == 0
    assert not list((root / "results").glob("*/soak.json"))
    (root / SECOND / "test_second.py").unlink()
    assert run(root) == 0
    target, found = parse_target(), kept(root)
    assert (found["machine"]["target"], found["machine"]["isa"]) == (target.name, target.isa)
    assert {"python", "torch", "apache-tvm"} <= found["versions"].keys()
    assert {"state", "commit", "date", "seconds", "cpu_seconds"} <= found["groups"][f"{FIRST} 1/2"].keys()


def test_code_that_changes_meanwhile_is_not_known_to_pass(root: Path) -> None:
    (root / SECOND / "test_second.py").write_text(
        "import pathlib\ndef test_change(): pathlib.Path('sparsegen/code.py').write_text('one = 3')\n"
    )
    with pytest.raises(SystemExit, match=f"the code changed while {SECOND} ran"):
        run(root)
    assert SECOND not in kept(root)["groups"]


def test_ctrl_c_keeps_what_is_done(root: Path) -> None:
    command = f"""
import pathlib
from tests import soak
soak.SHARES = {soak.SHARES}
raise SystemExit(soak.main({["--results", "results", *OPTIONS]}, root=pathlib.Path.cwd()))
"""
    started = start("-c", command, environment={**os.environ, "SLOW": "1"}, folder=root)
    until = time.monotonic() + LONG_S
    while not (root / "slow").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGINT)
    ended = started.result()
    assert ended.returncode == 130
    assert "2 of 3 groups passed, 0 failed, 1 left" in ended.stdout
    assert f"left: {SECOND}" in ended.stdout
    assert kept(root)["groups"].keys() == {f"{FIRST} 1/2", f"{FIRST} 2/2"}
