"""Errors against a float64 reference."""

from __future__ import annotations

import math

import pytest
import torch

from sparsegen.compare.accuracy import accuracy, argmax_agreement


def test_error_is_absolute_and_relative_to_the_largest_value() -> None:
    found = accuracy(torch.tensor([1.0, -3.5]), torch.tensor([1.0, -4.0], dtype=torch.float64))
    assert (found.max_abs_error, found.relative_error) == (0.5, 0.125)


def test_an_all_zero_reference_leaves_the_absolute_error() -> None:
    assert accuracy(torch.tensor([0.25]), torch.zeros(1, dtype=torch.float64)).relative_error == 0.25


def test_every_tensor_of_a_structure_counts() -> None:
    reference = {"a": torch.ones(2, dtype=torch.float64), "b": (torch.ones(3, dtype=torch.float64),)}
    result = {"a": torch.ones(2), "b": (torch.tensor([1.0, 1.0, 1.5]),)}
    assert accuracy(result, reference).max_abs_error == 0.5


def test_a_nan_is_an_error() -> None:
    ours = (torch.tensor([math.nan]), torch.tensor([1.0]))
    assert not accuracy(ours, (torch.ones(1).double(), torch.ones(1).double())).passes
    assert not accuracy(ours[::-1], (torch.ones(1).double(), torch.ones(1).double())).passes


def test_argmax_agreement_is_a_share_of_the_rows() -> None:
    ours = torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    exact = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0], [1.0, 0.0]]).double()
    assert argmax_agreement(ours, exact) == pytest.approx(0.75)
    assert argmax_agreement(ours[0], exact[0]) == 1.0
