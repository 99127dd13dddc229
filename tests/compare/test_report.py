"""The records of a comparison and their JSON, schema 5."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from sparsegen.compare.report import OURS, Accuracy, Comparison, Race, Timing

TOP = {
    "schema", "machine", "model", "batch", "threads", "sparsity", "structure", "samples", "compile_seconds",
    "layers", "end_to_end", "warnings", "summary",
}  # fmt: skip
LAYER = {
    "kernel", "implementation", "sparse", "format", "best_torch", "speedup_over_torch", "csr_max_abs_error",
    "name", "weight_shape", "input_shape", "density", "schedule", "schedule_source", "sparse_ms", "dense_ms",
    "speedup", "csr_ms", "csr_relative_error", "speedup_over_csr", "gflops", "peak_fraction", "max_abs_error",
}  # fmt: skip
NETWORK = {"sparse_ms", "dense_ms", "speedup", "max_abs_error", "argmax_agreement"}


def test_json_has_the_keys_of_schema_5(comparison: Comparison) -> None:
    found = json.loads(comparison.to_json())
    assert found["schema"] == 5
    assert set(found) == TOP
    assert len(found["layers"]) == len(comparison.layers)
    for layer in found["layers"]:
        assert set(layer) >= LAYER
        assert set(layer["dense_ms"]) == {"torch-nchw", "torch-nhwc", "sparsegen"}
    assert set(found["end_to_end"]) >= NETWORK
    assert set(found["end_to_end"]["dense_ms"]) == {"torch-nchw", "torch-nhwc", "torch-compile", "sparsegen"}
    assert set(found["summary"]) == {
        "geomean_speedup", "min_speedup", "geomean_speedup_over_torch", "sparse_layers",
        "geomean_speedup_over_csr",
    }  # fmt: skip


def test_what_was_not_timed_is_null(layers_only: Comparison) -> None:
    found = json.loads(layers_only.to_json())
    assert set(found) == TOP
    assert found["end_to_end"] is None
    assert found["compile_seconds"] is None
    assert found["summary"]["geomean_speedup_over_csr"] is None
    for layer in found["layers"]:
        assert (layer["csr_ms"], layer["csr_relative_error"], layer["speedup_over_csr"]) == (None,) * 3


def test_csr_products_stand_apart_from_the_dense_rivals(comparison: Comparison, with_csr: Comparison) -> None:
    found = json.loads(with_csr.to_json())
    for layer, dense in zip(found["layers"], comparison.layers, strict=True):
        assert set(layer["dense_ms"]) == {"torch-nchw", "torch-nhwc", "sparsegen"}
        assert layer["speedup"] == pytest.approx(dense.race.speedup)
        assert layer["csr_ms"]["torch-csr"] == pytest.approx(6 * layer["sparse_ms"])
        assert layer["speedup_over_csr"] == pytest.approx(6)
        assert layer["csr_relative_error"] == {"scipy-csr": 4e-7, "torch-csr": 4e-7}
        assert "scipy-csr" in layer["spread_ms"]
    assert found["summary"]["geomean_speedup_over_csr"] == pytest.approx(6)


def test_speedup_is_over_the_best_dense_rival(comparison: Comparison) -> None:
    for layer in json.loads(comparison.to_json())["layers"]:
        assert layer["speedup"] == pytest.approx(min(layer["dense_ms"].values()) / layer["sparse_ms"])
        assert layer["dense_ms"][layer["best_dense"]] == min(layer["dense_ms"].values())


def test_summary_is_of_the_layers(comparison: Comparison) -> None:
    speedups = [layer.race.speedup for layer in comparison.layers]
    assert comparison.min_speedup == min(speedups)
    assert comparison.geomean_speedup == pytest.approx(math.prod(speedups) ** (1 / len(speedups)))


def test_best_of_torch_leaves_ours_out() -> None:
    race = Race(sparse=Timing(1, 1, 1), dense={"sparsegen": Timing(2, 2, 2), "torch-nchw": Timing(3, 3, 3)})
    assert (race.best_dense, race.best_torch) == ("sparsegen", "torch-nchw")
    assert (race.speedup, race.over("torch-nchw")) == (2, 3)


def test_an_absent_rival_is_null_with_its_reason(comparison: Comparison) -> None:
    network = comparison.end_to_end
    dense = {name: timing for name, timing in network.race.dense.items() if name != "torch-compile"}
    race = dataclasses.replace(network.race, dense=dense)
    network = dataclasses.replace(network, race=race, absent={"torch-compile": "no C++ compiler"})
    found = json.loads(dataclasses.replace(comparison, end_to_end=network).to_json())["end_to_end"]
    assert found["dense_ms"]["torch-compile"] is None
    assert found["absent"] == {"torch-compile": "no C++ compiler"}


@pytest.mark.parametrize(("error", "passes"), [(0.0, True), (1e-4, True), (1.1e-4, False), (math.nan, False)])
def test_accuracy_passes_within_the_tolerance(error: float, passes: bool) -> None:
    assert Accuracy(max_abs_error=error, relative_error=error).passes is passes


def test_the_best_rival_is_the_fastest_of_all_that_is_not_ours(comparison: Comparison) -> None:
    found = comparison.end_to_end
    assert found is not None
    fast, slow = Timing(0.5, 0.4, 0.6), Timing(9e9, 9e9, 9e9)
    raced = dataclasses.replace(found.race, dense={**found.race.dense, OURS: fast}, engines={"other": slow})
    assert raced.best_rival == found.race.best_torch
    raced = dataclasses.replace(raced, engines={"other": slow, "faster": fast})
    assert raced.best_rival == "faster"
    assert raced.over("faster") == pytest.approx(0.5 / raced.sparse.median_ms)
    told = dataclasses.replace(found, race=raced, engines={"other": "1", "faster": "2.1"}).as_dict()
    assert told["engines_ms"] == {"other": 9e9, "faster": 0.5}
    assert told["engines_version"] == {"other": "1", "faster": "2.1"}
    assert (told["best_rival"], told["speedup_over_rival"]) == ("faster", raced.over("faster"))
    assert told["spread_ms"]["faster"] == [0.4, 0.6]


def test_a_comparison_without_layers_has_no_mean(comparison: Comparison) -> None:
    summary = dataclasses.replace(comparison, layers=()).as_dict()["summary"]
    assert summary == {**dict.fromkeys(summary), "sparse_layers": 0}


def test_a_layer_on_a_dense_kernel_gains_exactly_nothing_by_its_zeros(partly_dense: Comparison) -> None:
    found = json.loads(partly_dense.to_json())
    for index, layer in enumerate(found["layers"]):
        dense = index % 2 == 1
        assert layer["sparse"] is not dense
        assert layer["implementation"] == ("winograd" if dense else "panels")
        if dense:
            assert layer["speedup"] == min(1, layer["dense_ms"][layer["best_torch"]] / layer["sparse_ms"])
        assert layer["speedup_over_torch"] == pytest.approx(
            min(ms for name, ms in layer["dense_ms"].items() if name != OURS) / layer["sparse_ms"]
        )
    summary, layers = found["summary"], partly_dense.layers
    assert summary["sparse_layers"] == sum(layer.sparse for layer in layers) == (len(layers) + 1) // 2
    over_torch = [layer.race.speedup_over_torch for layer in layers]
    assert summary["geomean_speedup_over_torch"] == pytest.approx(
        math.prod(over_torch) ** (1 / len(over_torch))
    )


def test_a_loss_is_told_as_it_is() -> None:
    slow = Timing(2, 2, 2)
    race = Race(sparse=slow, dense={"torch-nchw": Timing(1, 1, 1), OURS: slow})
    assert (race.speedup, race.speedup_over_torch) == (0.5, 0.5)


def test_warnings_are_kept(comparison: Comparison) -> None:
    doubtful = dataclasses.replace(comparison, warnings=("other work keeps 1.0 of 2 cores busy",))
    assert json.loads(doubtful.to_json())["warnings"] == ["other work keeps 1.0 of 2 cores busy"]
