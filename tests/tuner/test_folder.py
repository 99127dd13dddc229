"""Folders of candidates: removed once their owner is gone, and never while it lives, whatever its number."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sparsegen.errors import ToolchainError
from sparsegen.tuner.measure import folder
from sparsegen.tuner.measure.folder import OwnFolder

OWNER = """
import sys, tempfile
from sparsegen.tuner.measure.folder import OwnFolder
tempfile.tempdir = sys.argv[1]
folder = OwnFolder()
(folder.path / "candidate_0.so").touch()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def owner(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has a folder, as of another container, and the folder."""
    command = [sys.executable, "-c", OWNER, str(temporary)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_living_owners_folder_stays_and_a_killed_ones_goes(temporary: Path) -> None:
    with owner(temporary) as (process, theirs):
        mine = OwnFolder()
        assert (theirs / "candidate_0.so").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        another = OwnFolder()
        assert not theirs.exists()
        assert mine.path.exists()
    mine.close()
    another.close()
    assert list(temporary.iterdir()) == []


def test_an_owner_that_ends_removes_its_folder(temporary: Path) -> None:
    with owner(temporary) as (process, theirs):
        assert theirs.exists()
        process.communicate()
    assert process.returncode == 0
    assert list(temporary.iterdir()) == []


def test_child_processes_do_not_keep_the_lock(temporary: Path) -> None:
    mine = OwnFolder()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        os.close(mine._remove.detach()[2][1])  # type: ignore[index]  # as if this process had been killed
        another = OwnFolder()
        child.kill()
    assert not mine.path.exists()
    another.close()


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, taken = folder.fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not taken:  # another tuner, which starts at the same time, is quicker
            (found,) = temporary.iterdir()
            taken.append(found)
            found.rmdir()
        flock(descriptor, how)

    monkeypatch.setattr(folder.fcntl, "flock", late)
    mine = OwnFolder()
    assert mine.path.exists()
    assert mine.path not in taken
    mine.close()


def test_where_there_are_no_locks_nothing_is_removed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(folder.fcntl, "flock", none)
    first, second = OwnFolder(), OwnFolder()
    assert first.path.exists()
    assert second.path.exists()


def test_links_are_not_followed(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (temporary / f"{folder._PREFIX}link").symlink_to(elsewhere)
    OwnFolder().close()
    assert elsewhere.exists()


def test_a_temporary_folder_that_is_full_is_a_message(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "absent"))
    message = r"temporary file cannot be written \(No such file or directory\); .*absent.*TMPDIR"
    with pytest.raises(ToolchainError, match=message):
        OwnFolder()
