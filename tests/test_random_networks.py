"""Any network that torch.export traces compiles, and computes what torch does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from torch.utils import _pytree

import sparsegen
from sparsegen.runtime.check import check_program
from tests.random_networks import RandomNetwork
from tests.sampling import examples

TOLERANCE = 1e-4
"""Of the largest result: what single precision leaves of a few operators in a row."""
SHARES = 12
"""Parts of the networks, which several processes may take."""


@pytest.mark.filterwarnings("ignore:torch itself computes")
@pytest.mark.parametrize("share", range(SHARES))
def test_random_networks(share: int) -> None:
    @examples(2, soak=-(-5000 // SHARES))
    @given(st.integers(0, 1 << 32))
    def check(number: int) -> None:
        seed = number * SHARES + share
        network = RandomNetwork(seed)
        note(f"network {seed}: {network.describe()}")
        compiled = sparsegen.compile(network, network.inputs, threads=1 + seed % 2)
        check_program(compiled.program)
        with torch.no_grad():
            results = _pytree.tree_leaves(compiled(*network.inputs))
            again = _pytree.tree_leaves(compiled(*network.inputs))
            exact = _pytree.tree_leaves(network.double()(network.inputs[0].double()))
        for result, twice, expected in zip(results, again, exact, strict=True):
            assert result.shape == expected.shape
            assert torch.equal(result, twice)
            error = (result.double() - expected).abs().max()
            assert error <= TOLERANCE * max(1.0, float(expected.abs().max()))

    check()
