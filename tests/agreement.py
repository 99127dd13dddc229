"""Compiled functions against torch in float64, many in one compilation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

import sparsegen
from tests.frontend.checking import Function

Functions = Mapping[str, Callable[..., Any]]


def check_agreement(
    functions: Functions,
    inputs: tuple[Tensor, ...],
    *,
    threads: int = 1,
    target: str = "native",
    tolerance: float = 2e-6,
) -> None:
    """Every function of the inputs, compiled, gives what torch gives in float64, relative to its largest."""
    together = Function(lambda *given: [function(*given) for function in functions.values()])
    results = sparsegen.compile(together, inputs, threads=threads, target=target)(*inputs)
    doubles = tuple(value.double() for value in inputs)
    for (name, function), actual in zip(functions.items(), results, strict=True):
        expected = function(*doubles)
        assert actual.shape == expected.shape, name
        largest = float(expected.abs().nan_to_num(0.0, 0.0).max())
        torch.testing.assert_close(
            actual.double(),
            expected,
            rtol=tolerance,
            atol=tolerance * largest,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )
