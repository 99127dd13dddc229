"""How far a rewritten graph's results are from the graph's own, on inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree

from sparsegen.graph import LayerGraph
from sparsegen.rewriting.calibration import Inputs
from sparsegen.torch_graph.graph import TorchGraph

_IMAGE = 4  # dimensions


@dataclass(frozen=True)
class Accuracy:
    """error: the largest absolute difference of a result; largest: the largest result.

    agreement: share of the rows whose largest result is at the same place, along the channels of images and
    along the last dimension of others; of `rows` of them. Rows of one element do not count.
    """

    error: float
    largest: float
    agreement: float
    rows: int


class Reference:
    """The graph's own results on some calls, computed once."""

    def __init__(self, graph: LayerGraph, calls: Sequence[Inputs]) -> None:
        self.calls = list(calls)
        self._expected = [_tensors(TorchGraph(graph)(*call)) for call in self.calls]

    def accuracy(self, graph: LayerGraph) -> Accuracy:
        """How far another graph's results are from them."""
        computed = TorchGraph(graph)
        error = largest = 0.0
        same = rows = 0
        for call, expected in zip(self.calls, self._expected, strict=True):
            for ours, theirs in zip(_tensors(computed(*call)), expected, strict=True):
                error = max(error, (ours.double() - theirs.double()).abs().max().item())
                largest = max(largest, theirs.abs().max().item())
                dim = 1 if theirs.ndim == _IMAGE else -1
                if theirs.ndim and theirs.shape[dim] > 1:
                    agree = ours.argmax(dim) == theirs.argmax(dim)
                    same, rows = same + int(agree.sum()), rows + agree.numel()
        return Accuracy(error, largest, same / rows if rows else 1.0, rows)


def _tensors(results: object) -> list[Tensor]:
    leaves = _pytree.tree_leaves(results)
    return [each for each in leaves if isinstance(each, torch.Tensor) and each.is_floating_point()]
