"""The documentation's code runs: Python in order, files as they stand, commands with known options."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import typer
from torch.testing import assert_close

from sparsegen.cli.app import app
from sparsegen.devices import registry
from sparsegen.frontend import load_model
from sparsegen.hetero.operators.export import ExportedModel
from sparsegen.hetero.problem.answer_json import answer_record

DOCS = Path(__file__).parents[1] / "docs"
_FENCE = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the file that it is, "" where it is none, and its text."""

    language: str
    file: str
    text: str


def blocks(name: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall((DOCS / name).read_text())]


def install(pyproject: str, folder: Path) -> None:
    """The entry points of a package whose modules lie in a folder, as pip would leave them there."""
    about = folder / "documented-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: documented\nVersion: 1\n")
    lines = []
    for group, points in tomllib.loads(pyproject)["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Runs a page in a folder with its files, and gives what its Python defines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSEGEN_CACHE", str(tmp_path / "cache"))

    def page(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {"__name__": "documented"}
        for block in blocks(name):
            if block.language == "json":
                json.loads(block.text)
            if block.file:
                Path(block.file).write_text(block.text)
            if block.file == "pyproject.toml":
                install(block.text, tmp_path)
                monkeypatch.syspath_prepend(tmp_path)
                registry._installed.cache_clear()
            elif block.language == "python" and not block.file:
                exec(compile(block.text, name, "exec"), found)
        return found

    yield page
    registry._installed.cache_clear()
    sys.modules.pop("abacus_devices", None)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a stream over cores needs two of them")
def test_the_scheduler(run: Callable[[str], dict[str, Any]]) -> None:
    found = run("scheduler.md")
    assert_close(found["results"], [found["model"](each).detach() for each in found["frames"]])
    assert_close(found["found"], found["wanted"], rtol=1e-4, atol=1e-5)
    assert "toy" in found["places"].values()
    for file, answer in (("answer.json", found["schedule"]), ("stream.json", found["stream"])):
        alike(json.loads(Path(file).read_text()), answer_record(answer))


def alike(told: Any, answer: Any) -> None:
    """An answer is the one that is told, but for the method, which may get better."""
    if isinstance(told, dict):
        assert list(told) == list(answer)
        for key in told.keys() - {"method"}:
            alike(told[key], answer[key])
    elif isinstance(told, list):
        assert len(told) == len(answer)
        for one, other in zip(told, answer, strict=True):
            alike(one, other)
    else:
        assert answer == (pytest.approx(told, rel=1e-9) if type(told) is float else told)


def test_an_operator_that_is_explained_is_one_of_its_model() -> None:
    (model, name), *_ = re.findall(
        r"sparsegen place (\w+) --explain (\S+)", (DOCS / "scheduler.md").read_text()
    )
    network, _ = load_model(model, batch=1)
    assert isinstance(network, torch.nn.Module)
    assert name in dict(network.named_modules())


def test_operators(run: Callable[[str], dict[str, Any]]) -> None:
    found = run("operators.md")
    exported = found["exported"]
    assert isinstance(exported, ExportedModel)
    names = [each.operator.name for each in exported.operators]
    assert [each.task for each in found["schedule"].runs] == names
    known = {"ours", "torch", "emulated"}
    assert {cost.implementation for each in exported.operators for cost in each.implementations} <= known
    inputs = [torch.rand(form.shape) for form in found["operator"].inputs]
    for ours, torchs in zip(found["ours"](*inputs), found["torchs"](*inputs), strict=True):
        assert_close(ours, torchs)


def test_rewriting(run: Callable[[str], dict[str, Any]]) -> None:
    assert run("rewriting.md")["fit"].error <= 1e-3


def test_doctor(run: Callable[[str], dict[str, Any]]) -> None:
    found = run("doctor.md")
    (told,) = (json.loads(each.text) for each in blocks("doctor.md") if each.language == "json")
    assert told.keys() == found["data"].keys()
    assert told["checks"][0].keys() == found["data"]["checks"][0].keys()
    rows = re.findall(r"^\| ([^|]+) \|", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    assert rows[1:] == [finding.name for finding in found["findings"]]


@pytest.mark.parametrize("page", ["scheduler.md", "operators.md", "rewriting.md", "doctor.md"])
def test_commands_have_the_options_that_are_told(page: str) -> None:
    text = (DOCS / page).read_text()
    told = [each.text for each in blocks(page) if each.language in ("", "sh")]
    lines = [line for each in told for line in each.splitlines()] + re.findall(r"`(sparsegen [^`]*)`", text)
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    checked = 0
    for line in lines:
        _, *words = shlex.split(line, comments=True)
        if not line.startswith("sparsegen ") or not words:
            continue
        verb = verbs[words[0]]
        known = {option for each in verb.params for option in (*each.opts, *each.secondary_opts)}
        for option in (word for word in words if word.startswith("-")):
            assert option.split("=")[0] in known, line
        checked += 1
    assert checked
