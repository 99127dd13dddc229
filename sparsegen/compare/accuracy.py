"""How far a result is from torch's in float64."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from sparsegen.compare.report import Accuracy


def accuracy(result: Any, reference: Any) -> Accuracy:
    """Compare two results of the same structure (tensors, or tuples, lists, dicts of them)."""
    pairs = [
        (ours.double(), exact.double())
        for ours, exact in zip(_tensors(result), _tensors(reference), strict=True)
    ]
    error = max((float((ours - exact).abs().max()) for ours, exact in pairs), key=_nan_first)
    scale = max(float(exact.abs().max()) for _, exact in pairs)
    return Accuracy(max_abs_error=error, relative_error=error / scale if scale else error)


def argmax_agreement(result: Any, reference: Any) -> float:
    """Share of rows (all positions but dimension 1, the classes) whose largest element is the same.

    Of a structure, the first tensor counts; of a tensor of one dimension, that one.
    """
    ours, exact = _tensors(result)[0], _tensors(reference)[0]
    dim = min(1, exact.dim() - 1)
    return float((ours.argmax(dim) == exact.argmax(dim)).double().mean())


def _tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in _pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def _nan_first(value: float) -> float:
    """Key by which a NaN is the largest: `max` alone would pass over it."""
    return math.inf if math.isnan(value) else value
