"""A small network, and what it should give, for tests of everything around its kernels."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import sparsegen
from sparsegen.runtime.program import Program

SHAPE = (2, 3, 8, 8)


@functools.cache
def small_network(width: int = 8) -> nn.Module:
    """The one network of a width: convolutions of a padded image, normalised and activated."""
    torch.manual_seed(width)
    layers = [
        nn.Conv2d(3, width, 3, padding=1, dtype=torch.float32, device="cpu"),
        nn.BatchNorm2d(width, dtype=torch.float32, device="cpu"),
        nn.ReLU(),
        nn.Conv2d(width, 4, 3, padding=1, dtype=torch.float32, device="cpu"),
        nn.GELU(),
    ]
    return nn.Sequential(*layers).eval()


def example(seed: int = 0) -> torch.Tensor:
    """Random input of `SHAPE`."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(SHAPE, generator=generator, dtype=torch.float32, device="cpu")


def compiled_network(threads: int = 1) -> sparsegen.CompiledModel:
    """The small network for AVX2, which every machine here has."""
    return sparsegen.compile(
        small_network(), (example(),), threads=threads, target="haswell", database=None, winograd=False
    )


def check(model: sparsegen.CompiledModel, x: torch.Tensor, plain: torch.Tensor | None = None) -> None:
    """The compiled small network's result for `x`, against torch's for the same numbers, `plain`."""
    with torch.no_grad():
        expected = small_network()(x if plain is None else plain)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


def changed(program: Program, index: int, **change: Any) -> Program:
    """The program with one of its calls changed."""
    calls = list(program.calls)
    calls[index] = replace(calls[index], **change)
    return replace(program, calls=tuple(calls))
