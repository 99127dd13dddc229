"""Structures of arguments and results as torch writes them, read without it."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from sparsegen_runtime import structures
from sparsegen_runtime.structures import UnknownClassError, read_structure
from torch.utils import _pytree

VALUES: list[Any] = [
    1,
    (1, [2, {"b": 3, "a": (4,)}]),
    {},
    [],
    OrderedDict(x=1, y=[2]),
    {1: 2, "b": ()},
    ((),),
]


def written(value: Any) -> Any:
    return json.loads(_pytree.treespec_dumps(_pytree.tree_flatten(value)[1]))


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_come_back(value: Any) -> None:
    structure = read_structure(written(value))
    leaves = structure.leaves_of(value)
    assert leaves == _pytree.tree_flatten(value)[0]
    built = structure.built(leaves)
    assert (built, type(built)) == (value, type(value))


def test_dicts_may_be_in_any_order() -> None:
    structure = read_structure(written({"a": 1, "b": 2}))
    assert structure.leaves_of({"b": 2, "a": 1}) == [1, 2]


@pytest.mark.parametrize("value", [1, (1,), (1, 2, 3), [1, 2], (1, (2,)), {"a": 1}])
def test_values_of_another_structure(value: Any) -> None:
    assert read_structure(written((1, 2))).leaves_of(value) is None


def test_nothing_is_one_leaf() -> None:
    assert read_structure(None).built([3]) == 3


Pair = namedtuple("Pair", "one two")


def test_other_classes_are_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    _pytree._register_namedtuple(Pair, serialized_type_name="tests.Pair")
    told = written([Pair(1, 2)])
    assert read_structure(told).built([3, 4]) == [Pair(3, 4)]
    monkeypatch.setattr(structures, "sys", type("Without", (), {"modules": {}}))
    with pytest.raises(UnknownClassError):
        read_structure(told)


@pytest.mark.parametrize("told", [3, [2, {}], [1, {}], [1, {"type": "builtins.tuple"}], [1, None]])
def test_what_is_no_structure(told: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        read_structure(told)


def test_torch_is_never_asked_for_enumerations() -> None:
    told = written([torch.zeros(1)])
    told[1]["type"], told[1]["context"] = "strange", {"__enum__": True}
    with pytest.raises(UnknownClassError):
        read_structure(told)
