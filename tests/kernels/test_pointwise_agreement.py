"""Every pointwise operator of a model, alone and behind a convolution, against torch in float64."""

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

MASK = torch.arange(35).view(5, 7) % 3 > 0

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum": lambda x: torch.maximum(x, ramp(x, 7)),
    "minimum": lambda x: torch.minimum(ramp(x, 6, 1, 1), x),
    "where": lambda x: torch.where(MASK, x, ramp(x, 7)),
    "masked fill": lambda x: x.masked_fill(MASK, 2.5),
    "prelu": lambda x: F.prelu(x, ramp(x, 6)),
    "single prelu": lambda x: F.prelu(x, ramp(x, 1)),
    "elu": lambda x: F.elu(x, 0.5),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.5),
    "softplus": lambda x: F.softplus(x, 2, 3),
    "softsign": F.softsign,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "erf": torch.erf,
    "log": lambda x: (x.abs() + 0.25).log(),
    "log1p": lambda x: x.abs().log1p(),
    "expm1": torch.expm1,
    "sin": torch.sin,
    "cos": torch.cos,
    "cube": lambda x: x**3,
    "power": lambda x: (x.abs() + 0.25) ** 1.7,
    "round": torch.round,
    "rsqrt": lambda x: (x.abs() + 0.25).rsqrt(),
    "clamp": lambda x: x.clamp(ramp(x, 7), ramp(x, 7) + 0.5),
}


def behind_a_convolution(operator: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: operator(F.conv2d(x, ramp(x, 6, 3, 3, 3), ramp(x, 6), padding=1))


TOGETHER = 6
"""Operators that are compiled as one model."""


@large(
    ("first", "batch", "threads"),
    itertools.product(range(0, len(OPERATORS), TOGETHER), (1, 3, 16, 17), (1, 2)),
    sample=4,
)
def test_operators_alone_and_fused(first: int, batch: int, threads: int) -> None:
    functions = dict(list(OPERATORS.items())[first : first + TOGETHER])
    alone = {
        name: (lambda x, f=function: f(x[:, :1] * ramp(x, 6, 1, 1))) for name, function in functions.items()
    }
    fused = {f"{name}, fused": behind_a_convolution(function) for name, function in functions.items()}
    check_agreement(alone | fused, (images(batch, 3, 5, 7),), threads=threads, tolerance=5e-6)


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"where", "clamp"}))
def test_operators_end_a_convolution(name: str) -> None:
    graph = from_torch(Function(behind_a_convolution(OPERATORS[name])), (images(2, 3, 5, 7),))
    (layer,) = describe(graph)
    assert layer.startswith("Conv2d ")
