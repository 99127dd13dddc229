"""The loops that small kernels lower to, as text: a change of them shows in review.

`pytest tests/lowering --update-golden` rewrites the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparsegen.graph import Conv2d, Step
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.panels import PanelProblem, PanelSchedule, panels
from sparsegen.kernels.taps import direct_taps
from sparsegen.lowering.layout import Halo, Layout, plan_layout
from sparsegen.lowering.pipeline import lower

GOLDEN = Path(__file__).parents[1] / "golden"


def problem(batch: int, *, batch_lanes: bool) -> PanelProblem:
    """A 3x3 convolution of 4 by 6 channels on 4x4 pixels, half of its weights zero."""
    weight = np.arange(6 * 4 * 9, dtype=np.float32).reshape(6, 4, 3, 3) % 2
    taps = direct_taps(Conv2d(weight, None, padding=(1, 1, 1, 1)))

    def layout(channels: int) -> Layout:
        halo = Halo(1, 1, 1, 1)
        return plan_layout((batch, channels, 4, 4), lanes=8, batch_lanes=batch_lanes, halo=halo)

    source, out = layout(4), layout(6)
    return PanelProblem(
        matrix=weight.reshape(6, -1),
        bias=np.ones(6, np.float32),
        columns_per_channel=9,
        offsets=taps.offsets(source),
        pixels=out.pixel_vectors,
        pixel_steps=source.pixel_steps((1, 1)),
        source=source,
        out=out,
    )


COMBINED = PanelSchedule(2, 1, 2, 4, 3, format="column_combined")
RELU = (Step("relu"),)
CASES = {
    "masked_panels_batch_lanes": (
        problem(8, batch_lanes=True),
        PanelSchedule(2, 2, 2, 2, 3),
        (Step("relu"),),
    ),
    "masked_panels_pixel_lanes": (problem(1, batch_lanes=False), PanelSchedule(4, 1, 3, 4, 1), ()),
    "permuted_rows": (problem(8, batch_lanes=True), PanelSchedule(2, 1, 2, 4, 3, permuted=True), ()),
    "column_combined": (problem(8, batch_lanes=True), COMBINED, ()),
    "packed_input": (
        problem(8, batch_lanes=True),
        PanelSchedule(2, 2, 2, 2, 1, unroll=2, parallel="panels", pack_input=True),
        (),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_lowered_code_is_the_golden_files(name: str, request: pytest.FixtureRequest) -> None:
    which, knobs, steps = CASES[name]
    kernel = panels(which, knobs, source="x", epilogue=Epilogue(steps, {}), registers=16)
    lowered = lower(kernel.module, kernel.store, kernel.store.shape)["main"].script() + "\n"
    path = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(lowered)
    assert lowered == path.read_text(), "lowered code changed: look at it, then --update-golden"
