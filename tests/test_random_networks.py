"""Any network that torch.export traces compiles, and computes what torch does."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree

import sparsegen
from tests.random_networks import RandomNetwork
from tests.sampling import large

TOLERANCE = 1e-4
"""Of the largest result: what single precision leaves of a few operators in a row."""


@pytest.mark.filterwarnings("ignore:torch itself computes")
@large(("seed",), [(seed,) for seed in range(5000)], sample=60)
def test_a_random_network(seed: int) -> None:
    network = RandomNetwork(seed)
    compiled = sparsegen.compile(network, network.inputs, threads=1 + seed % 2)
    with torch.no_grad():
        exact = _pytree.tree_leaves(network.double()(network.inputs[0].double()))
        results = _pytree.tree_leaves(compiled(*network.inputs))
        again = _pytree.tree_leaves(compiled(*network.inputs))
    for result, twice, expected in zip(results, again, exact, strict=True):
        assert result.shape == expected.shape, network.describe()
        assert torch.equal(result, twice), network.describe()
        error = (result.double() - expected).abs().max()
        assert error <= TOLERANCE * max(1.0, float(expected.abs().max())), network.describe()
