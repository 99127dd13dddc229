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
