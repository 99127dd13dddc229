"""Files of results are refused early, and written whole or not at all."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from sparsegen import files
from sparsegen.errors import FileError
from sparsegen.files import check_writable, replacing, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("content", ["Größe\n", b"\x89PNG\r\n"])
def test_a_file_is_written_whole(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "result"
    write_file(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["result"]


def test_nobody_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as new:
        new.write_text("half of the n")
        assert (path.read_text(), new.name) == ("old", "a.json")
    assert path.read_text() == "half of the n"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise error

    expected = FileError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(
        expected, match="cannot write .*a.json: No space left" if expected is FileError else None
    ):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_file_and_its_folder_are_on_the_disk_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.json", []

    def sync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), path.exists()))

    monkeypatch.setattr(files.os, "fsync", sync)
    write_file(path, "content")
    (file, renamed), folder = synced
    assert (file.name, file.parent.parent, renamed) == ("a.json", tmp_path, False)
    assert folder == (tmp_path, True)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "a.json", "content")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.json") == 0o666 & ~umask


def test_an_old_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o640)
    write_file(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o640)


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.json", tmp_path / "link.json"
    link.symlink_to(real)
    for content in ("first", "second"):
        write_file(link, content)
        assert link.is_symlink()
        assert real.read_text() == content
    assert names(tmp_path / "real") == ["a.json"]


def test_a_pipe_is_written_itself(tmp_path: Path) -> None:
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    check_writable("--json", path)
    write_file(path, "content")
    reader.join()
    assert read == ["content"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_is_never_replaced() -> None:
    check_writable("--json", Path("/dev/null"))
    write_file(Path("/dev/null"), "content")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_paths_that_cannot_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable("--json", tmp_path / "a.json")
    with pytest.raises(FileError, match=r"--json .* is a folder"):
        check_writable("--json", tmp_path)
    with pytest.raises(FileError, match="there is no folder"):
        check_writable("--json", tmp_path / "missing" / "a.json")
    (tmp_path / "old.json").write_text("old")
    monkeypatch.setattr(files.os, "access", lambda path, mode: path != tmp_path)  # root may write anywhere
    for name in ("a.json", "old.json"):
        with pytest.raises(FileError, match="cannot be written: choose another"):
            check_writable("--json", tmp_path / name)
