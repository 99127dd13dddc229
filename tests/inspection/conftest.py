"""Inspections with made-up numbers."""

from __future__ import annotations

import pytest

from sparsegen.formats.registry import Statistics
from sparsegen.inspection.report import Inspection, LayerInspection
from sparsegen.isa import AVX512
from sparsegen.target import Target


def layer(
    name: str, *, speedup: float | None, why: str, structure: str = "unstructured", permuted: bool = False
) -> LayerInspection:
    """Half of 512x256x3x3 weights kept; `speedup` over 1e6 cycles of a dense kernel, None for no choice."""
    chosen = speedup is not None
    return LayerInspection(
        name=name,
        weight_shape=(512, 256, 3, 3),
        kept=512 * 256 * 9 // 2,
        structure=structure,
        format="masked_panels" if chosen else "grouped",
        schedule={"rows": 4, "tile_h": 1, "permuted": permuted} if chosen else {},
        statistics=Statistics(bytes=3_700_000, masks=15, rows_per_vector=2.13, padding=0.0)
        if chosen
        else None,
        packed_bytes=3_700_000 if chosen else 4 * 512 * 256 * 9,
        positions=16 * 14 * 14,
        cycles=None if speedup is None else 1e6 / speedup,
        estimates={"dense_panels": 1e6, "masked_panels": 1e6 / speedup} if speedup is not None else {},
        why=why,
    )


def of_layers(*layers: LayerInspection) -> Inspection:
    target = Target(
        cpu="znver4",
        instructions=AVX512,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        l3_bytes=32 << 20,
        cores=2,
        loads=1.0,
        fmas=1.0,
    )
    return Inspection(model="resnet18", target=target, batch=16, threads=2, layers=layers)


@pytest.fixture
def paying() -> Inspection:
    """Two layers where sparse pays, one of them permuted."""
    path = "features.stage3.unit1"
    return of_layers(
        layer(f"{path}.body.conv1.conv", speedup=1.5, why="vectors serve 2.13 rows"),
        layer(f"{path}.body.conv2.conv", speedup=3.0, why="permuted: serves 2.4 rows", permuted=True),
    )


@pytest.fixture
def mixed(paying: Inspection) -> Inspection:
    """The same, with two layers that are too dense and a grouped one."""
    path = "features.stage3.unit2"
    return of_layers(
        *paying.layers,
        layer(f"{path}.body.conv1.conv", speedup=1.0, why="too dense: the zeros gain little"),
        layer(f"{path}.body.conv2.conv", speedup=1.04, why="too dense: the zeros gain little"),
        layer(f"{path}.depthwise.conv", speedup=None, why="grouped convolutions run dense"),
    )
