"""Comparisons with made-up numbers."""

from __future__ import annotations

import dataclasses

import pytest

from sparsegen.compare import run
from sparsegen.compare.report import (
    OURS,
    Accuracy,
    Comparison,
    LayerComparison,
    Machine,
    NetworkComparison,
    Race,
    Timing,
)


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs here: watching it takes half a second a comparison."""
    monkeypatch.setattr(run, "warn_of_noise", lambda: ())


def timing(median: float) -> Timing:
    return Timing(median_ms=median, p10_ms=0.95 * median, p90_ms=1.1 * median)


def layer(name: str, *, channels: int, size: int, kernel: int, times: tuple[float, ...]) -> LayerComparison:
    """A layer whose `times` are those of sparse, torch NCHW, torch NHWC and our dense code."""
    sparse, nchw, nhwc, ours = map(timing, times)
    return LayerComparison(
        name=name,
        weight_shape=(channels, channels, kernel, kernel),
        input_shape=(16, channels, size, size),
        density=0.5,
        kernel="panels",
        format="masked_panels",
        schedule={"layout": "batch", "rows": 4, "tile_h": 2, "tile_w": 4, "block": 32, "pixels_outer": True},
        schedule_source="tuned",
        race=Race(sparse=sparse, dense={"torch-nchw": nchw, "torch-nhwc": nhwc, "sparsegen": ours}),
        gflops=91.5,
        peak_fraction=0.81,
        accuracy=Accuracy(max_abs_error=1e-6, relative_error=3e-7),
    )


@pytest.fixture
def comparison() -> Comparison:
    """ResNet-18's nineteen pruned convolutions."""
    return made_up_comparison()


@pytest.fixture
def layers_only(comparison: Comparison) -> Comparison:
    """The same layers, without the network."""
    return dataclasses.replace(comparison, compile_seconds=None, end_to_end=None)


@pytest.fixture
def partly_dense(comparison: Comparison) -> Comparison:
    """Every other layer on our dense kernel, Winograd's."""
    layers = [run_dense(each) if index % 2 else each for index, each in enumerate(comparison.layers)]
    return dataclasses.replace(comparison, layers=tuple(layers))


def run_dense(layer: LayerComparison) -> LayerComparison:
    """The layer compiled to a dense kernel: that, and our dense rival, are one and the same code."""
    race = dataclasses.replace(layer.race, dense={**layer.race.dense, OURS: layer.race.sparse})
    return dataclasses.replace(layer, kernel="winograd", format="winograd", race=race)


@pytest.fixture
def with_csr(comparison: Comparison) -> Comparison:
    """CSR products on every layer, torch's the faster at 6 times our median."""
    return dataclasses.replace(comparison, layers=tuple(map(_against_csr, comparison.layers)))


def _against_csr(layer: LayerComparison) -> LayerComparison:
    ours = layer.race.sparse.median_ms
    race = dataclasses.replace(layer.race, csr={"scipy-csr": timing(9 * ours), "torch-csr": timing(6 * ours)})
    exact = Accuracy(max_abs_error=1e-6, relative_error=4e-7)
    return dataclasses.replace(layer, race=race, csr_accuracy={"scipy-csr": exact, "torch-csr": exact})


def made_up_comparison() -> Comparison:
    layers = []
    for stage, (channels, size) in enumerate(((64, 56), (128, 28), (256, 14), (512, 7)), start=1):
        for unit in (1, 2):
            path = f"features.stage{stage}.unit{unit}"
            for conv in (1, 2):
                times = (20.1 / stage + conv, 35.0 / stage, 31.0 / stage + conv, 30.5 / stage + conv)
                name = f"{path}.body.conv{conv}.conv"
                layers.append(layer(name, channels=channels, size=size, kernel=3, times=times))
            if unit == 1 and stage > 1:
                name = f"{path}.identity_conv.conv"
                layers.append(
                    layer(name, channels=channels, size=size, kernel=1, times=(0.51, 0.83, 0.912, 0.95))
                )
    network = NetworkComparison(
        race=Race(
            sparse=timing(204.0),
            dense={
                "torch-nchw": timing(410.0),
                "torch-nhwc": timing(379.0),
                "torch-compile": timing(303.0),
                "sparsegen": timing(298.0),
            },
        ),
        absent={},
        accuracy=Accuracy(max_abs_error=2e-5, relative_error=4e-6),
        argmax_agreement=1.0,
        peak_bytes=60 << 20,
        live_bytes=50 << 20,
    )
    machine = Machine(
        cpu="AMD EPYC 9R14",
        cores=2,
        target="znver4",
        isa="AVX-512",
        lanes=16,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        governor=None,
        fma_peak_gflops=225.0,
        python="3.11.7",
        torch="2.13.0",
        tvm="0.27.0",
    )
    return Comparison(
        machine=machine,
        model="resnet18",
        batch=16,
        threads=2,
        sparsity=0.5,
        structure="unstructured",
        samples=15,
        compile_seconds=14.2,
        layers=tuple(layers),
        end_to_end=network,
    )
