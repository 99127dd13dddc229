"""Plans whose checksums are right and whose content is wrong: one error of ours, whatever reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sparsegen_runtime
import torch
from torch import nn

import sparsegen
from sparsegen.errors import ProgramError, SparsegenError
from sparsegen.runtime.artefact import save
from sparsegen.runtime.artefact.read import read_programs
from sparsegen.runtime.artefact.sections import Sections
from tests.runtime.artefact.networks import structured

Change = Callable[[dict[str, Any]], object]

CHANGES: dict[str, Change] = {
    "no structure": lambda plan: plan.pop("structure"),
    "a number as structure": lambda plan: plan.update(structure=3),
    "a structure of fewer parts": lambda plan: plan.update(structure=None),
    "a deep structure": lambda plan: plan.update(structure=[1, _deep()]),
    "a dict without keys": lambda plan: plan["structure"][1].update(context="3"),
    "no call": lambda plan: plan.pop("call"),
    "a call without names": lambda plan: plan["call"].update(names=[]),
    "a call of too many": lambda plan: plan["call"].update(positional=9),
    "a call of fewer leaves": lambda plan: plan["call"].update(leaves=plan["call"]["leaves"][1:]),
    "fixed leaves that are not there": lambda plan: plan["call"].update(fixed={"77": 1}),
    "no fixed leaves": lambda plan: plan["call"].update(fixed={}),
    "known results at a name": lambda plan: plan.update(known={"x": 1}),
    "no known results": lambda plan: plan.update(known={}),
    "a known array that is not there": lambda plan: plan["known"].update({"3": {"weight": 99}}),
    "a known array of another size": lambda plan: plan["arrays"][_known(plan)].update(shape=[7]),
    "a known array of a strange type": lambda plan: plan["arrays"][_known(plan)].update(dtype="object"),
    "layers that are none": lambda plan: plan.update(layers=3),
    "no target": lambda plan: plan.pop("target"),
}


def _deep() -> Any:
    node: Any = {"type": None, "context": None, "children_spec": []}
    for _ in range(40):
        node = {"type": "builtins.list", "context": "null", "children_spec": [node]}
    return node


def _known(plan: dict[str, Any]) -> int:
    return next(
        int(each["weight"]) for each in plan["known"].values() if isinstance(each, dict) and "weight" in each
    )


@pytest.mark.parametrize("name", CHANGES)
def test_plans_that_are_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, honest = tmp_path / "file", save._json

    def changed(sections: Sections, folder: str, content: dict[str, Any]) -> Any:
        content = json.loads(json.dumps(content))
        if folder == "plan":
            CHANGES[name](content)
        return honest(sections, folder, content)

    monkeypatch.setattr(save, "_json", changed)  # checksums are of what is written
    structured().save(path)
    with pytest.raises(SparsegenError) as caught:
        sparsegen_runtime.load(path)(torch.ones(3, 6), others=[torch.ones(3, 4)])
    assert str(path) in str(caught.value)
    with suppress(ProgramError):  # torch's own pytrees take more than ours
        read_programs(path)


MANIFESTS: dict[str, tuple[Change, str]] = {
    "torch that is a text": (lambda told: told.update(needs_torch="x"), "whether it needs torch"),
    "torch that is not told": (lambda told: told.pop("needs_torch"), "needs.torch"),
    "another target": (lambda told: told["variants"][0].update(target="znver4"), "are not those of its plan"),
    "other threads": (lambda told: told["variants"][0].update(threads=77), "are not those of its plan"),
    "threads that are none": (lambda told: told["variants"][0].update(threads="1"), "not those of its plan"),
    "another batch": (lambda told: told["variants"][0].update(batch=5), "are not those of its plan"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_that_are_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, honest = tmp_path / "file", json.dumps
    change, message = MANIFESTS[name]

    def changed(content: Any, **options: Any) -> str:
        if isinstance(content, dict) and "needs_torch" in content:
            change(content)
        return honest(content, **options)

    monkeypatch.setattr(save.json, "dumps", changed)
    structured().save(path)
    monkeypatch.undo()
    for read in (sparsegen_runtime.load, read_programs):
        with pytest.raises(ProgramError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_torch_that_is_kept_quiet_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x).sort().values

    with pytest.warns(UserWarning, match="torch itself"):
        model = sparsegen.compile(Sorted().eval(), (torch.ones(1, 6),), threads=1, target="haswell")
    path, honest = tmp_path / "file", json.dumps

    def changed(content: Any, **options: Any) -> str:
        manifest = isinstance(content, dict) and "needs_torch" in content
        return honest({**content, "needs_torch": False} if manifest else content, **options)

    monkeypatch.setattr(save.json, "dumps", changed)
    model.save(path)
    monkeypatch.undo()
    for read in (sparsegen_runtime.load, sparsegen.load, read_programs):
        with pytest.raises(ProgramError) as caught:
            read(path)
        assert str(path) in str(caught.value)
