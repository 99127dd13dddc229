"""What a program keeps of its filters in Winograd's domain: how they are made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.runtime.program import array_at


def convolution(*, kernels: bool) -> nn.Module:
    """One that Winograd's filtering serves: dense, or without half of its kernels."""
    torch.manual_seed(0)
    network = nn.Conv2d(32, 30, 3, padding=1).eval()
    if kernels:
        with torch.no_grad():
            network.weight *= (torch.rand(30, 32) > 0.5)[:, :, None, None]
    return network


@pytest.mark.parametrize(("kernels", "kind"), [(False, "winograd"), (True, "sparse_winograd")])
def test_filters_are_kept_as_what_they_are_made_of(kernels: bool, kind: str) -> None:
    network = convolution(kernels=kernels)
    model = sparsegen.compile(
        network, (torch.randn(1, 32, 28, 28),), threads=1, target="haswell", database=None
    )
    program = model.program
    assert [layer.kernel for layer in model.layers] == [kind]
    ((number, made),) = program.made.items()
    held = array_at(program.weights, program.arrays[number])
    assert np.array_equal(np.asarray(made), held)
    assert (made.shape, made.nbytes) == (held.shape, held.nbytes)
    assert made.filters().nbytes * 3 < held.nbytes
    assert np.count_nonzero(made.filters()) == np.count_nonzero(network.weight.detach())
