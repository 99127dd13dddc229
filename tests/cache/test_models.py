"""Compiled models that are kept: found, told apart, given up, and refused where others could write."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import sparsegen
from sparsegen import compiler
from sparsegen.cache import compiled as found
from sparsegen.cache.folder import default_folder, given_folder
from sparsegen.cache.key import NoKeyError, key_of
from sparsegen.cache.models import ModelCache
from sparsegen.cli.app import app
from sparsegen.doctor.examination import _cache_folder
from sparsegen.errors import FileError, OptionError
from sparsegen.runtime.program import Program

X = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that were compiled, not found."""
    graphs: list[Any] = []
    whole = compiler.compile_graph

    def noted(graph: Any, **options: Any) -> Any:
        graphs.append(graph)
        return whole(graph, **options)

    monkeypatch.setattr(compiler, "compile_graph", noted)
    return graphs


def test_the_second_time_it_is_found(folder: Path, made: list[Any]) -> None:
    first = sparsegen.compile(network(), (X,), cache_dir=folder)
    second = sparsegen.compile(network(), (X,), cache_dir=folder)
    assert len(made) == 1
    assert torch.equal(first(X), second(X))
    assert [layer.name for layer in second.layers] == [layer.name for layer in first.layers]
    assert second.layers == first.layers
    assert len(list(ModelCache(folder).kept())) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"model": network(1)},
        {"x": X[:1]},
        {"threads": 2},
        {"target": "haswell"},
        {"winograd": False},
        {"approximate": 1e-3},
        {"database": None},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_differs_is_made(folder: Path, made: list[Any], other: dict[str, Any]) -> None:
    sparsegen.compile(network(), (X,), threads=1, cache_dir=folder)
    model, x = other.pop("model", network()), other.pop("x", X)
    compiled = sparsegen.compile(model, (x,), cache_dir=folder, **{"threads": 1, **other})
    assert len(made) == 2
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-3, atol=1e-3)


def test_models_with_torchs_operators_are_kept(folder: Path, made: list[Any]) -> None:
    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sums": x.relu().sort(1).values, "one": torch.ones(2)}

    with pytest.warns(UserWarning, match="torch"):
        first = sparsegen.compile(Sums().eval(), (X,), cache_dir=folder)
    with pytest.warns(UserWarning, match="torch"):
        second = sparsegen.compile(Sums().eval(), (X,), cache_dir=folder)
    assert len(made) == 1
    assert torch.equal(first(X)["sums"], second(X)["sums"])
    assert torch.equal(second(X)["one"], torch.ones(2))


def test_nothing_is_kept_where_that_is_not_wanted(
    folder: Path, made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEGEN_CACHE", str(folder))
    for options in ({"cache": False}, {}):
        sparsegen.compile(network(), (X,), **options)  # the tests' own environment says no, too
    assert len(made) == 2
    assert not folder.exists()


def test_the_users_folder_is_used(folder: Path, made: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEGEN_CACHE", str(folder))
    monkeypatch.delenv("SPARSEGEN_NO_CACHE")
    for _ in range(2):
        sparsegen.compile(network(), (X,))
    assert len(made) == 1
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_damaged_file_is_made_anew(folder: Path, made: list[Any]) -> None:
    sparsegen.compile(network(), (X,), cache_dir=folder)
    (kept,) = ModelCache(folder).kept()
    whole = kept.path.read_bytes()
    for damaged in (whole[:1000], b"", whole[:-4096] + bytes(4096), b"text" * 2000):
        kept.path.write_bytes(damaged)
        before = len(made)
        compiled = sparsegen.compile(network(), (X,), cache_dir=folder)
        assert len(made) == before + 1
        assert torch.equal(compiled(X), sparsegen.compile(network(), (X,), cache_dir=folder)(X))
        assert len(made) == before + 1


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_folder_that_others_may_use_is_refused(
    folder: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(FileError, match=f"mode {mode:04o}.*chmod 700"):
        sparsegen.compile(network(), (X,), cache_dir=folder)
    monkeypatch.setenv("SPARSEGEN_CACHE", str(folder))
    monkeypatch.delenv("SPARSEGEN_NO_CACHE")
    found._tell_once.cache_clear()
    with pytest.warns(UserWarning, match=f"not kept.*mode {mode:04o}"):
        sparsegen.compile(network(), (X,))
    assert not list(folder.iterdir())


def test_a_folder_of_somebody_elses_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(FileError, match="user"):
        ModelCache(folder)


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be made"):
        sparsegen.compile(network(), (X,), cache_dir=tmp_path / "file" / "below")


def test_a_folder_in_place_of_a_model_is_removed(folder: Path, made: list[Any]) -> None:
    sparsegen.compile(network(), (X,), cache_dir=folder)
    (kept,) = ModelCache(folder).kept()
    kept.path.unlink()
    (kept.path / "below").mkdir(parents=True)
    for _ in range(2):
        sparsegen.compile(network(), (X,), cache_dir=folder)
    assert len(made) == 2
    assert kept.path.is_file()


def test_what_cannot_be_removed_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ModelCache(folder)
    (cache.folder / "a.sparsegen").mkdir()

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refused)
    assert cache.find("a") is None
    assert "cannot remove" in caplog.text
    with pytest.raises(FileError, match="cannot remove"):
        cache.clear()


@pytest.mark.parametrize("wrong", ["", " ", "a\0b", 5, b"folder", Path])
def test_what_is_no_path_is_refused(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"cache_dir is .*: give the path of a folder"):
        sparsegen.compile(network(), (X,), cache_dir=wrong)


def test_the_users_home_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SPARSEGEN_CACHE", raising=False)
    assert given_folder("~/mine") == folder / "mine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == folder / ".cache" / "sparsegen"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_folder() == Path("/xdg/sparsegen")
    monkeypatch.setenv("SPARSEGEN_CACHE", "~/other")
    assert default_folder() == folder / "other"


@pytest.mark.parametrize("wrong", ["relative", "./here", "0", "off", " "])
def test_a_relative_folder_of_the_environment_is_refused(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSEGEN_CACHE", wrong)
    monkeypatch.delenv("SPARSEGEN_NO_CACHE")
    found._tell_once.cache_clear()
    with pytest.warns(UserWarning, match=f"SPARSEGEN_CACHE is '{wrong}': give the absolute path"):
        assert found.model_cache(cache=True, cache_dir=None) is None
    assert _cache_folder().found.startswith("SPARSEGEN_CACHE is")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["show", "clear"])
def test_looking_makes_no_folder(verb: str, folder: Path) -> None:
    done = CliRunner().invoke(app, ["cache", verb, "--cache-dir", str(folder)])
    assert (done.exit_code, "0 models" in done.output) == (0, True)
    assert not folder.exists()


def test_what_was_used_longest_ago_goes_first(folder: Path) -> None:
    program = sparsegen.compile(network(), (X,), cache=False).program
    cache = ModelCache(folder)
    for age, key in enumerate(("a", "b", "c")):
        cache.keep(key, [program])
        os.utime(cache.folder / f"{key}.sparsegen", (1000 + age, 1000 + age))
    assert cache.find("a") is not None  # used again
    one = next(cache.kept()).bytes
    small = ModelCache(folder, most_bytes=3 * one)
    small.keep("d", [program])
    assert {kept.path.stem for kept in small.kept()} == {"a", "c", "d"}


def test_keys_tell_values_apart() -> None:
    values: list[Any] = [
        *(1, 1.0, True, "1", b"1", None, (), [], (1,), [1], ((1,),), {"a": 1}, {"a": 2}, {"b": 1}),
        *(np.zeros(2), np.zeros(2, np.float32), np.zeros((2, 1)), torch.zeros(2), -0.0, 0.0, complex(0, 1)),
        *(torch.float32, torch.float64, torch.ops.aten.relu.default, torch.ops.aten.relu_.default),
    ]
    assert len({key_of(value) for value in values}) == len(values)
    assert key_of((1, 2), 3) != key_of(1, (2, 3))
    assert key_of(values[14:]) == key_of(values[14:])
    with pytest.raises(NoKeyError, match="object"):
        key_of(object())


def _keep(folder: Path, program: Program, rounds: int) -> None:
    cache = ModelCache(folder)
    for _ in range(rounds):
        cache.keep("same", [program])
        assert cache.find("same") is not None


def test_processes_keep_one_model_at_once(folder: Path) -> None:
    program = sparsegen.compile(network(), (X,), cache=False).program
    workers = [
        multiprocessing.get_context("fork").Process(target=_keep, args=(folder, program, 20))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=100)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [kept.path.stem for kept in ModelCache(folder).kept()] == ["same"]
    assert len(list((folder / "models").iterdir())) == 1


def test_the_verb_shows_and_clears(folder: Path) -> None:
    sparsegen.compile(network(), (X,), cache_dir=folder)
    shown = CliRunner().invoke(app, ["cache", "show", "--cache-dir", str(folder)])
    assert shown.exit_code == 0
    assert "1 model in" in shown.output
    cleared = CliRunner().invoke(app, ["cache", "clear", "--cache-dir", str(folder)])
    assert "1 model, " in cleared.output
    assert "0 models in" in CliRunner().invoke(app, ["cache", "show", "--cache-dir", str(folder)]).output
    folder.chmod(0o755)
    refused = CliRunner().invoke(app, ["cache", "show", "--cache-dir", str(folder)])
    assert refused.exit_code == 1
    assert "chmod 700" in refused.output
