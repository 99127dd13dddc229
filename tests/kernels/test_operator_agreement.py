"""Reductions and movements of a model against torch in float64, batch by batch and across the batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.frontend import from_torch
from tests.agreement import check_agreement
from tests.frontend.checking import Function, describe, images
from tests.frontend.test_operators import ramp
from tests.sampling import large

BATCHES = {"pixels": ((1, 2), (3, 1)), "images": ((16, 2), (17, 1))}
"""Batches and threads, by what lanes hold then."""
Cases = dict[str, Callable[[Tensor], Tensor]]

REDUCTIONS: Cases = {
    "sum": lambda x: x.sum((2, -1)),
    "sum, dimensions kept": lambda x: x.sum(1, keepdim=True),
    "amax": lambda x: x.amax((1, 3)),
    "amin": lambda x: x.amin(-1, keepdim=True),
    "max over a dimension": lambda x: x.max(1).values,
    "min over a dimension": lambda x: x.min(-1, keepdim=True)[0],
    "product": lambda x: x.prod(3),
    "variance": lambda x: x.var((1, 2)),
    "variance, biased": lambda x: x.var(-1, unbiased=False),
    "variance, corrected by 2": lambda x: x.var(1, correction=2, keepdim=True),
    "deviation": lambda x: x.std(2),
    "norm": lambda x: x.norm(dim=1),
    "1-norm": lambda x: torch.linalg.vector_norm(x, 1, dim=(1, 2)),
    "largest magnitude": lambda x: torch.linalg.vector_norm(x, torch.inf, dim=-1, keepdim=True),
    "normalised": lambda x: F.normalize(x, dim=1),
    "log softmax": lambda x: x.log_softmax(1),
    "log softmax, last": lambda x: x.log_softmax(-1),
    "logsumexp": lambda x: x.logsumexp((1, 3)),
    "behind a convolution": lambda x: F.conv2d(x, ramp(x, 6, 4, 3, 3), padding=1).amax((2, 3)).relu(),
}
OF_THE_BATCH: Cases = {
    "sum of all": lambda x: x.sum(),
    "largest of all": lambda x: x.max(),
    "smallest of all": lambda x: x.min(),
    "norm of all": lambda x: x.norm(),
    "deviation of all": lambda x: x.std(),
    "sum over the batch": lambda x: x.sum(0),
    "largest over the batch": lambda x: x.amax((0, 2), keepdim=True),
    "log softmax over the batch": lambda x: x.log_softmax(0),
    "variance and mean": lambda x: torch.stack(torch.var_mean(x, (2, 3))),
    "repeated, of more dimensions": lambda x: x[:, 0].repeat(1, 1, 2, 1),
    "repeated batch": lambda x: x.repeat(2, 1, 1, 1),
    "batch at indices": lambda x: x[torch.zeros(3, dtype=torch.long)],
    "rolled batch": lambda x: x.roll(1, 0),
}


def overwritten(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1:3] = x[:, :2]
    y[:, 0] = x[:, 1] * 2
    y[:, :, ::2] = 1.5
    y[:, :, 1::3] = x[:, :, 1::3]
    return y


MOVEMENTS: Cases = {
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 0, 2, 2])),
    "index": lambda x: x[:, :, torch.tensor([[0, 4], [1, -1]])],
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "tile": lambda x: x.tile(2),
    "roll": lambda x: x.roll((1, -2), (2, 3)),
    "roll of channels": lambda x: x.roll(5, 1),
    "flip": lambda x: x.flip((1, 3)),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "overwritten": overwritten,
    "constants": lambda x: torch.cat([x, torch.ones_like(x), torch.full_like(x[:, :1], 2)], 1),
    "more constants": lambda x: x + x.new_ones(7) + torch.arange(7, dtype=x.dtype) + x.new_full((5, 1), 3),
    "glued back": lambda x: torch.cat([part.relu() for part in x.split_with_sizes((1, 3), 1)], 1),
}


@large(("lanes", "number"), itertools.product(BATCHES, (0, 1)), sample=2)
def test_reductions_and_movements_by_image(lanes: str, number: int) -> None:
    batch, threads = BATCHES[lanes][number]
    check_agreement(
        REDUCTIONS | MOVEMENTS, (images(batch, 4, 5, 7),), threads=threads, target="haswell", tolerance=5e-6
    )


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_reductions_and_movements_across_the_batch(batch: int) -> None:
    check_agreement(OF_THE_BATCH, (images(batch, 4, 5, 7),), tolerance=5e-6)


def test_what_is_evenly_apart_is_a_slice() -> None:
    graph = from_torch(Function(lambda x: x[:, torch.tensor([3, 1])].flip(2)), (images(),))
    assert describe(graph) == ["Slice", "Slice"]


def test_an_operator_of_shapes_alone_needs_no_layer() -> None:
    graph = from_torch(Function(lambda x: x * torch.ones_like(x.exp())), (images(),))
    assert describe(graph) == ["Identity mul"]


def test_a_reduction_takes_an_epilogue() -> None:
    graph = from_torch(Function(lambda x: x.sum(1).relu() + 1), (images(),))
    assert describe(graph) == ["Reduce relu add"]
