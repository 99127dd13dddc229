"""What is zeroed of a buffer before a call, whatever the size of its elements."""

from __future__ import annotations

import numpy as np
import pytest

from sparsegen.runtime.calls import clearer
from sparsegen.runtime.program import Clearing


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "float64"])
def test_a_halo_is_zeroed_and_nothing_else(dtype: str) -> None:
    groups, size, head, planes, plane, spans = 2, 40, 3, 3, 13, ((0, 2), (5, 6), (11, 13))
    expected = np.ones((groups, size), dtype)
    expected[:, :head] = 0
    for begin, end in spans:
        for at in range(head, size, plane):
            expected[:, at + begin : at + end] = 0
    held = np.ones((groups + 1, size), dtype)  # what follows the buffer is another's
    clearer(Clearing(groups, size, head, planes, plane, spans), held)()
    np.testing.assert_array_equal(held[:groups], expected)
    assert (held[groups] == 1).all()
