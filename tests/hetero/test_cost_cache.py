"""Measured costs on disk: kept, shared by processes, and refused in one line where the file is damaged."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from sparsegen.errors import ToolchainError
from sparsegen.hetero.costs.cost_cache import FOLDER, CostCache, default_path


def _write(path: Path, number: int) -> None:
    for round_ in range(20):
        CostCache(path).write({f"{number} {round_}": number + round_ / 100, "shared": 1.0})


def test_costs_are_kept(tmp_path: Path) -> None:
    cache = CostCache(tmp_path / "new" / "costs.sqlite")
    assert cache.read(["a"]) == {}
    cache.write({"a": 0.5, "b": 0.25})
    cache.write({"a": 0.75})
    assert CostCache(tmp_path / "new" / "costs.sqlite").read(["a", "c"]) == {"a": 0.75}


def test_without_a_path_nothing_is_kept() -> None:
    cache = CostCache(None)
    cache.write({"a": 1.0})
    assert cache.read(["a"]) == {}


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    keys = [f"{number} {round_}" for number in range(3) for round_ in range(20)]
    assert CostCache(path).read(keys).keys() == set(keys)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(ToolchainError, match=r"costs.sqlite cannot be used: .*; delete it, or name"):
        CostCache(path).read(["a"])


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolchainError, match="cannot be used"):
        CostCache(tmp_path / "file" / "costs.sqlite").write({"a": 1.0})


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert default_path() == tmp_path / "costs.sqlite"
    monkeypatch.delenv(FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_path() == Path("/somewhere/sparsegen/costs.sqlite")
