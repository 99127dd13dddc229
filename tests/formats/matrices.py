"""Matrices of any size and density, for the formats' properties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sparsegen.graph import Array


@st.composite
def matrices(draw: st.DrawFn, *, rows: int, columns: int) -> Array:
    """A matrix [1 to `rows`, 1 to `columns`], any share of its elements zero."""
    shape = draw(st.integers(1, rows)), draw(st.integers(1, columns))
    density, rng = draw(st.floats(0, 1)), np.random.default_rng(0)
    return (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)
