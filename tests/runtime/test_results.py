"""Results that a model knows beforehand keep their type and value, and are the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree

import sparsegen
from tests.frontend.checking import Function

MASK = torch.tensor([True, False])
RESULTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "int64 alone": lambda x, mask: torch.arange(3),
    "bool buffer": lambda x, mask: (x + 1, mask),
    "bool buffer alone": lambda x, mask: mask,
    "of the shape": lambda x, mask: {"sum": x + x, "shape": torch.tensor(x.shape), "size": x.shape[1]},
    "other dtypes": lambda x, mask: [
        torch.ones(2, dtype=torch.float64) / 3,
        torch.ones((), dtype=torch.bfloat16),
        torch.full((2, 2), -0.0),
        torch.tensor([torch.nan, torch.inf]),
        mask.int() * 2,
    ],
    "expanded": lambda x, mask: torch.arange(3.0).expand(2, 3),
    "no tensors": lambda x, mask: (None, x.relu(), 3, 2.5, True, "text", [None]),
    "None alone": lambda x, mask: None,
    "the same twice": lambda x, mask: (x.relu(), mask, mask, x, x),
    "inputs": lambda x, mask: (x, x + 1, x),
}


def same(result: Any, expected: Any) -> bool:
    if not isinstance(expected, Tensor):
        return type(result) is type(expected) and result == expected
    return result.dtype == expected.dtype and torch.equal(result.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("name", RESULTS)
def test_results_have_torchs_types_values_and_structure(name: str) -> None:
    model, x = Function(RESULTS[name], MASK), torch.randn(2, 3)
    compiled = sparsegen.compile(model, (x,), threads=1)
    expected, structure = _pytree.tree_flatten(model(x))
    for _ in range(2):
        results, its_structure = _pytree.tree_flatten(compiled(x))
        assert its_structure == structure
        assert all(map(same, results, expected))
        tensors = [result for result in results if isinstance(result, Tensor)]
        assert not {tensor.data_ptr() for tensor in tensors} & {x.data_ptr(), MASK.data_ptr()}
        for tensor in tensors:
            tensor.zero_()  # the caller's own


def test_a_buffer_changed_later_changes_no_result() -> None:
    model = Function(lambda x, mask: (x, mask), MASK.clone())
    compiled = sparsegen.compile(model, (torch.zeros(1),), threads=1)
    model.get_buffer("constant0").fill_(True)
    assert torch.equal(compiled(torch.zeros(1))[1], MASK)
