"""What the kernels' property tests draw: settings, shapes, epilogues."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sparsegen.graph import Array, Core, LayerGraph, Shape, Step
from sparsegen.lowering.layout import Halo
from tests.kernels.harness import Setting, one_layer
from tests.sampling import examples

FEW = examples(12)
"""Every example compiles a kernel, which takes some 0.1 s."""

HALOS = st.sampled_from([Halo(), Halo(1, 1, 1, 1), Halo(top=2, left=3, rows_past=2, pixels_past=5)])
BATCHES = [(16, True), (17, True), (32, True), (1, False), (3, False)]


@st.composite
def any_setting(draw: st.DrawFn, *, batch_lanes: bool | None = None) -> Setting:
    """Both layouts, whole and ragged batches, both widths of vectors, images with halo and without."""
    batch, lanes = draw(st.sampled_from([b for b in BATCHES if batch_lanes in (None, b[1])]))
    return Setting(batch, lanes, draw(st.sampled_from(["native", "haswell"])), draw(HALOS))


def extents(low: int = 1, high: int = 20) -> st.SearchStrategy[int]:
    """Extents of a dimension, vectors' sizes among them."""
    return st.one_of(
        st.integers(low, high), st.sampled_from([e for e in (8, 16) if low <= e <= high] or [low])
    )


@st.composite
def with_epilogue(draw: st.DrawFn, core: Core, source: Shape, shape: Shape) -> LayerGraph:
    """The layer's graph: bare, with an activation, or with a residual and a constant by column."""
    which = draw(st.sampled_from(["none", "activation", "operands"]))
    if which == "activation":
        return one_layer(core, {"x": source}, shape, (Step("silu"),))
    if which == "none" or len(shape) < 2:
        return one_layer(core, {"x": source}, shape)
    scale: Array = np.linspace(0.5, 2.0, shape[-1], dtype=np.float32)
    steps = (Step("mul", "scale"), Step("sub", "residual", reverse=True), Step("relu"))
    return one_layer(core, {"x": source, "residual": shape}, shape, steps, {"scale": scale})
