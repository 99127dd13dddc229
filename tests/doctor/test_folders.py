"""The folder of temporary files, and the cache: read-only, full, of another's, open to others."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from sparsegen.doctor.folders import Folder, cache, look, temporary, temporary_folder

ME = 1000
TMP = Folder(Path("/tmp"), exists=True, writable=True, free=10**9)
CACHE = Folder(
    Path("/home/me/.cache/sparsegen"), exists=True, writable=True, owner=ME, mode=0o700, size=5 * 10**6
)


def changed(folder: Folder, **fields: object) -> Folder:
    return Folder(**{**vars(folder), **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folder", "refused", "status", "told"),
    [
        (TMP, "", "ok", "/tmp, 1,000 MB free"),
        (changed(TMP, writable=False), "", "note", "cannot be written"),
        (changed(TMP, free=10**6), "", "note", "1 MB free"),
        (changed(TMP, noexec=True), "", "note", "noexec"),
        (TMP, "/proc", "note", "TMPDIR names /proc, which cannot be used"),
        (None, "", "note", "there is none"),
    ],
)
def test_temporary(folder: Folder | None, refused: str, status: str, told: str) -> None:
    found = temporary(folder, refused)
    assert found.status == status
    assert told in found.found
    assert bool(found.next) == (status == "note")


def test_tmpdir_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, refused = temporary_folder({"TMPDIR": "/proc"})
    assert folder is not None
    assert (folder.path, folder.writable, refused) == (tmp_path, True, "/proc")
    assert temporary_folder({"TMPDIR": f"{tmp_path}/"})[1] == ""
    assert temporary_folder({})[1] == ""


def test_nowhere_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert temporary_folder({})[0] is None


@pytest.mark.parametrize(
    ("folder", "status", "told", "command"),
    [
        (CACHE, "ok", "5.0 MB, mode 0700", ""),
        (changed(CACHE, exists=False), "ok", "not there yet", ""),
        (changed(CACHE, exists=False, writable=False), "note", "cannot be made", "XDG_CACHE_HOME"),
        (changed(CACHE, owner=0), "note", "owned by user 0, not by you (1000)", "XDG_CACHE_HOME"),
        (changed(CACHE, writable=False), "note", "cannot be written", "ls -ld"),
        (changed(CACHE, mode=0o755), "note", "mode 0755", "chmod 700 /home/me/.cache/sparsegen"),
    ],
)
def test_cache(folder: Folder, status: str, told: str, command: str) -> None:
    found = cache(folder, user=ME)
    assert found.status == status
    assert told in found.found
    assert command in found.next


def test_looking_at_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "sparsegen"
    assert not look(folder).exists
    assert look(folder).writable
    folder.mkdir(parents=True, mode=0o700)
    (folder / "one").write_bytes(b"12345")
    (folder / "gone").symlink_to("nowhere")
    found = look(folder, measured=True)
    assert (found.exists, found.writable, found.mode, found.owner) == (
        True,
        True,
        0o700,
        tmp_path.stat().st_uid,
    )
    assert found.size == 5 + len("nowhere")
    assert found.free > 0


def test_a_read_only_folder() -> None:
    assert not look(Path("/proc")).writable  # not even by root
    assert not look(Path("/proc/sparsegen")).writable
