"""What an inspection tells is what compiling does; nothing is built, and the model stays as it is."""

from __future__ import annotations

import copy
import importlib
import json
from types import ModuleType

import pytest
import torch
from torch import nn

import sparsegen
from sparsegen import compiler
from sparsegen.errors import SparsegenError
from sparsegen.inspection import Inspection, LayerInspection
from sparsegen.isa import AVX512
from sparsegen.target import Target, parse_target
from tests.inspection.networks import CHANNELS, images, no_weights, sparse_only, structures

SPEED = ("clock_hz", "core_bandwidth", "socket_bandwidth")


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    """For an AVX-512 server, whatever this machine is: nothing is compiled."""
    server = Target("znver5", AVX512, 48 << 10, 1 << 20, 32 << 20, cores=2, loads=2.0, fmas=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsegen.inspection.run.parse_target", lambda _: server)
        return sparsegen.inspect(structures(), (images(),), threads=1, winograd=False)


def by_name(inspection: Inspection) -> dict[str, LayerInspection]:
    return {layer.name: layer for layer in inspection.layers}


def test_every_structure_is_told(inspection: Inspection) -> None:
    found = {layer.name: layer.structure.partition(",")[0] for layer in inspection.layers}
    assert found == {
        "stem": "dense",
        "unstructured": "unstructured",
        "two_of_four": "2:4",
        "vectors_of_four": "vector:4",
        "blocks_of_four": "block:4x4",
        "column_combined": "column-combined",
        "all_zero": "all zero",
        "nine_tenths": "unstructured",
        "grouped": "unstructured",
        "classifier": "dense",
    }


def test_formats_and_reasons_suit_the_layers(inspection: Inspection) -> None:
    layers = by_name(inspection)
    assert (layers["stem"].format, layers["stem"].why) == ("dense_panels", "no zeros")
    assert (layers["grouped"].format, layers["grouped"].why) == ("grouped", "grouped convolutions run dense")
    assert layers["vectors_of_four"].format == "masked_panels"
    assert layers["vectors_of_four"].why == "vectors serve 4.00 rows"
    assert layers["all_zero"].why == "all zero: nothing is left to multiply"
    assert layers["nine_tenths"].why == "too dense: the zeros gain little"
    unpaid = [layer.name for layer in inspection.layers if not layer.pays]
    assert unpaid == ["stem", "nine_tenths", "grouped", "classifier"]


def test_work_and_bytes_are_counted(inspection: Inspection) -> None:
    layer = by_name(inspection)["two_of_four"]
    weights, positions = CHANNELS * CHANNELS * 9, 16 * 10 * 10
    assert (layer.weights, layer.kept, layer.density) == (weights, weights // 2, 0.5)
    assert (layer.positions, layer.multiply_adds) == (positions, positions * weights)
    assert layer.multiply_adds_left == positions * weights // 2
    assert layer.dense_bytes == 4 * weights
    classifier = by_name(inspection)["classifier"]
    assert (classifier.positions, classifier.weights) == (16, 10 * CHANNELS)


def test_where_minimal_filtering_saves_more_than_the_zeros() -> None:
    layers = by_name(sparsegen.inspect(structures(), (images(),), threads=1))
    dense, sparse = layers["nine_tenths"], layers["all_zero"]
    assert (dense.format, dense.why) == ("winograd", "Winograd's filtering saves more than the zeros")
    assert (dense.statistics, dense.expected_speedup, dense.pays) == (None, 1.0, False)
    assert sparse.format == "masked_panels"
    assert sparse.cycles is not None
    dense_cycles = min(sparse.estimates["dense_panels"], sparse.estimates["winograd"])
    assert sparse.expected_speedup == dense_cycles / sparse.cycles


@pytest.mark.parametrize("batch", [1, 16])
def test_filters_that_minimal_filtering_skips(batch: int) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)).eval(), torch.zeros(batch, 64, 28, 28)
    sparsegen.prune(model, "kernel", sparsity=0.75, skip=())
    (told,) = sparsegen.inspect(model, (x,), threads=1).layers
    assert (told.structure, told.format) == ("kernel:4", "sparse_winograd")
    assert told.why == "Winograd's filtering, 75% of it skipped"
    assert told.statistics is None
    assert told.cycles == told.estimates["sparse_winograd"]
    assert told.pays
    assert {"dense_panels", "masked_panels", "winograd"} < told.estimates.keys()
    reports = {report.name: report for report in sparsegen.compile(model, (x,), threads=1).layers}
    report = reports[told.name]
    assert (report.kernel, report.format) == ("sparse_winograd", "sparse_winograd")
    assert (report.weight_bytes, report.schedule) == (told.packed_bytes, dict(told.schedule))


@pytest.mark.parametrize(("batch", "winograd"), [(16, True), (16, False), (1, True)])
def test_compiling_does_what_was_told(batch: int, winograd: bool) -> None:
    model, x = structures(), images(batch)
    told = by_name(sparsegen.inspect(model, (x,), threads=1, winograd=winograd))
    compiled = sparsegen.compile(model, (x,), threads=1, winograd=winograd)
    reports = {report.name: report for report in compiled.layers}
    for name, layer in told.items():
        report = reports[name]
        assert layer.weight_shape == report.weight_shape
        assert layer.density == report.density
        assert layer.packed_bytes == report.weight_bytes
        if report.kernel == "panels":
            assert (layer.format, dict(layer.schedule)) == (report.format, report.schedule)
        elif report.kernel in ("winograd", "sparse_winograd"):
            assert (layer.format, dict(layer.schedule)) == (report.kernel, report.schedule)
        else:
            assert (layer.format, report.kernel) in {("grouped", "grouped_conv"), ("linear", "linear")}
            assert layer.expected_speedup is None
    assert told["classifier"].format == ("linear" if batch == 1 else "dense_panels")


@pytest.mark.parametrize("zeros", [1, 300])
def test_a_layer_with_a_handful_of_zeros_has_its_dense_kernel(zeros: int) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(64, 64, 3, padding=1).eval(), torch.zeros(8, 64, 28, 28)
    few = copy.deepcopy(conv)
    with torch.no_grad():
        few.weight.view(-1)[:: few.weight.numel() // zeros] = 0
    (dense,), (told,) = (
        sparsegen.inspect(each, (x,), threads=1, target="haswell").layers for each in (conv, few)
    )
    assert (told.format, told.schedule, told.estimates) == (dense.format, dense.schedule, dense.estimates)
    assert (told.structure, told.why) == ("dense", "hardly any zeros")
    assert told.format in ("winograd", "dense_panels")
    assert (told.expected_speedup, told.pays) == (1.0, False)
    (*_, whole), (*_, report) = (
        sparsegen.compile(each, (x,), threads=1, target="haswell").layers for each in (conv, few)
    )
    assert (report.kernel, report.format, report.schedule) == (whole.kernel, whole.format, whole.schedule)
    assert (report.format, report.schedule) == (told.format, dict(told.schedule))


def test_an_unpruned_network_is_expected_to_gain_nothing() -> None:
    torch.manual_seed(0)
    convs = (nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 8, 1))
    told = sparsegen.inspect(
        nn.Sequential(*convs).eval(), (images(8, channels=16),), threads=1, target="haswell"
    )
    assert {layer.expected_speedup for layer in told.layers} == {1.0}
    assert told.totals.expected_speedup == 1.0


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((1, CHANNELS), "skipping zeros at this batch takes AVX-512"),
        ((16, CHANNELS), "linear layers run dense where images of a batch meet"),
    ],
)
def test_why_linear_layers_run_dense(shape: tuple[int, int], why: str) -> None:
    class Meeting(nn.Module):
        """The batch's mean is taken, and so lanes cannot hold its images."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(CHANNELS, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.linear(x).mean(0)
            return result

    (layer,) = sparsegen.inspect(Meeting().eval(), (torch.zeros(shape),), target="haswell").layers
    assert (layer.format, layer.why) == ("linear", why)


@pytest.mark.skipif(parse_target("native").isa != "AVX-512", reason="needs AVX-512")
@pytest.mark.parametrize(
    ("features", "density", "format", "why"),
    [
        (1200, 0.1, "masked_vectors", "waits for its weights: no zero is read"),
        (1200, 0.98, "linear", "too dense: the zeros gain little"),
        (1200, 1.0, "linear", "no zeros"),
        (40, 1.0, "linear", "no zeros"),
    ],
)
def test_linear_layers_of_few_rows(features: int, density: float, format: str, why: str) -> None:
    linear = nn.Linear(features, features).eval()
    kept = torch.rand(linear.weight.shape, generator=torch.Generator().manual_seed(0)) < density
    linear.weight.data[~kept] = 0
    x = torch.zeros(3, features)
    (told,) = sparsegen.inspect(linear, (x,), threads=2).layers
    *_, report = sparsegen.compile(linear, (x,), threads=2).layers
    assert (told.format, told.why, told.pays) == (format, why, format == "masked_vectors")
    assert (report.format, report.weight_bytes) == (
        "dense" if format == "linear" else format,
        told.packed_bytes,
    )
    assert told.density == report.density
    if told.pays:
        assert dict(told.schedule) == report.schedule
        assert told.expected_speedup == told.estimates["dense_panels"] / told.estimates[format]


def test_both_convolutions_of_a_separable_one_are_told() -> None:
    depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64)
    model = nn.Sequential(depthwise, nn.ReLU6(), nn.Conv2d(64, 64, 1)).eval()
    x = torch.randn(16, 64, 56, 56)
    options = {"threads": 1, "target": "haswell"}  # where fusing pays
    first, second = sparsegen.inspect(model, (x,), **options).layers
    assert (first.name, first.format, first.positions) == ("0", "grouped", 16 * 56 * 56)
    assert first.why == "dense, computed where the next layer reads it"
    reports = sparsegen.compile(model, (x,), **options).layers
    assert [report.name for report in reports if report.weight_shape] == [first.name, second.name]
    assert [report.kernel for report in reports if report.weight_shape] == ["fused", "separable"]
    assert dict(second.schedule) == reports[-1].schedule


def test_no_kernel_is_built_and_the_model_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an inspection built a kernel")

    for step in ("build_kernel", "build", "assemble"):
        monkeypatch.setattr(compiler, step, refuse)
    model = structures()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sparsegen.inspect(model, (images(),), threads=1)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_settings_are_kept_and_count() -> None:
    wide = sparsegen.inspect(sparse_only(), (images(8, channels=CHANNELS),), threads=1)
    narrow = sparsegen.inspect(sparse_only(), (images(8, channels=CHANNELS),), threads=1, target="haswell")
    assert (narrow.target.name, narrow.target.lanes, narrow.batch, narrow.threads) == ("haswell", 8, 8, 1)
    assert narrow.model == "Sequential"
    if wide.target.lanes == 16:  # pixels on the one, images on the other
        assert wide.layers[0].cycles != narrow.layers[0].cycles


def test_names_are_loaded() -> None:
    told = sparsegen.inspect("tests.cli.networks:small", batch=2, threads=1, input_shape=(3, 12, 12))
    assert (told.model, told.batch) == ("tests.cli.networks:small", 2)
    assert [layer.name for layer in told.layers] == ["0", "2", "4", "7"]


def test_the_json_holds_it_all(inspection: Inspection) -> None:
    found = json.loads(inspection.to_json())
    assert found == inspection.as_dict()
    assert set(found) == {
        "schema", "model", "target", "batch", "threads", "measured", "layers", "totals", "torch_operators",
        "approximated",
    }  # fmt: skip
    assert (found["schema"], found["measured"]) == (2, False)
    assert found["layers"][5]["seconds"] == found["layers"][5]["cycles"] / found["target"]["clock_hz"]
    assert set(found["target"]) == {"name", "isa", "lanes", "l1_bytes", "l2_bytes", *SPEED}
    combined = found["layers"][5]
    assert set(combined) == {
        "name", "weight_shape", "weights", "kept", "density", "structure", "format", "schedule", "masks",
        "rows_per_vector", "padding", "packed_bytes", "dense_bytes", "multiply_adds", "multiply_adds_left",
        "cycles", "estimates", "expected_speedup", "pays", "why", "seconds",
    }  # fmt: skip
    assert combined["weight_shape"] == [CHANNELS, CHANNELS, 3, 3]
    assert {"masked_panels", "dense_panels", "column_combined"} == set(combined["estimates"])
    statistics = inspection.layers[5].statistics
    assert statistics is not None
    assert [combined[key] for key in ("masks", "rows_per_vector", "padding", "packed_bytes")] == [
        statistics.masks,
        statistics.rows_per_vector,
        statistics.padding,
        statistics.bytes,
    ]
    grouped = found["layers"][8]
    absent = ("schedule", "masks", "rows_per_vector", "padding", "cycles", "estimates", "expected_speedup")
    assert all(grouped[key] is None for key in absent)
    assert grouped["pays"] is False


def test_bad_input_is_told() -> None:
    x = (images(),)
    with pytest.raises(SparsegenError, match="no convolution and no linear layer"):
        sparsegen.inspect(no_weights(), x)
    with pytest.raises(SparsegenError, match="needs example_inputs"):
        sparsegen.inspect(structures())
    with pytest.raises(SparsegenError, match="give batch and input_shape"):
        sparsegen.inspect("resnet18", x)
    with pytest.raises(SparsegenError, match="threads is 0"):
        sparsegen.inspect(structures(), x, threads=0)
    with pytest.raises(SparsegenError, match="z80"):
        sparsegen.inspect(structures(), x, target="z80")
    with pytest.raises(SparsegenError, match="eval"):
        sparsegen.inspect(structures().train(), x)


def test_no_module_hides_the_function() -> None:
    for module in ("sparsegen.inspection", "sparsegen.inspection.run", "sparsegen.cli.inspect"):
        importlib.import_module(module)
    assert not isinstance(sparsegen.inspect, ModuleType)
    assert "inspect" in sparsegen.__all__
    assert sparsegen.Inspection is Inspection
