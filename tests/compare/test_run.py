"""Comparisons of a small network through the real compiler."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsegen.compare import CompareOptions, bench, compare, network, peers
from sparsegen.compare import run as orchestration
from sparsegen.compare.report import Comparison
from sparsegen.compare.timing import Call
from sparsegen.cpuinfo import available_cores
from sparsegen.errors import OptionError, SparsegenError
from sparsegen.graph import Conv2d, Layer, LayerGraph
from sparsegen.runtime.model import CompiledModel
from tests.cli.networks import tokens


class Small(nn.Module):
    """A stem, a convolution called twice, one with a stride, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 10, 3, stride=2)
        self.classifier = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.twice(torch.relu(self.norm(self.twice(x)))))
        result: torch.Tensor = self.classifier(torch.relu(self.down(x)).mean((2, 3)))
        return result


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)),)


@pytest.fixture(autouse=True)
def without_torch_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C++ compiler behind torch.compile takes longer than everything else here."""
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def quick(model: nn.Module, inputs: tuple[torch.Tensor, ...], **options: object) -> Comparison:
    return compare(model, inputs, threads=1, samples=2, **options)  # type: ignore[arg-type]


def test_every_pruned_layer_is_measured_and_right(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    comparison = quick(model, inputs, sparsity=0.75)
    assert [layer.name for layer in comparison.layers] == ["twice", "twice#2", "down"]
    for layer in comparison.layers:
        assert layer.density == 0.25
        assert layer.accuracy.passes
        assert set(layer.race.dense) == {peers.NCHW, peers.NHWC, "sparsegen"}
    last = comparison.layers[-1]
    # Two images of 4x4 outputs, each from a quarter of 10 * 8 * 3 * 3 weights.
    assert last.gflops * last.race.sparse.median_ms * 1e6 == pytest.approx(2 * 2 * 16 * 180)
    assert comparison.end_to_end.accuracy.passes
    assert comparison.end_to_end.argmax_agreement == 1.0
    assert (comparison.model, comparison.batch) == ("Small", 2)
    assert (comparison.structure, comparison.sparsity) == ("unstructured", 0.75)
    assert comparison.geomean_speedup_over_csr is None


@pytest.mark.parametrize(
    ("structure", "sparsity", "density"),
    [
        ("2:4", None, 0.5),
        ("1:4x2", None, 0.25),
        ("vector:2", 0.75, 0.25),
        ("block:2x2", 0.75, 0.25),
        ("unstructured", None, 0.5),
    ],
)
def test_every_structure_is_compared(
    structure: str, sparsity: float | None, density: float, model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> None:
    comparison = quick(model, inputs, structure=structure, sparsity=sparsity, network=False, layers="twice")
    assert [layer.density for layer in comparison.layers] == [density]
    assert comparison.layers[0].accuracy.passes
    assert (comparison.structure, comparison.sparsity) == (structure, 1 - density)


@pytest.mark.parametrize("structure", ["column-combined", "column-combined:annealing"])
def test_combined_columns_are_compared(
    structure: str, model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> None:
    comparison = quick(model, inputs, structure=structure, sparsity=0.75, network=False, layers="twice")
    assert 0 < comparison.layers[0].density <= 0.25
    assert comparison.layers[0].accuracy.passes
    assert (comparison.structure, comparison.sparsity) == (structure, 0.75)


def test_where_no_kernel_skips_zeros_there_is_one_code_and_one_time(
    model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> None:
    comparison = quick(model, inputs, sparsity=0, target="haswell")
    network = comparison.end_to_end
    assert network is not None
    assert comparison.sparse_layers == 0
    for raced in (*comparison.layers, network):
        race = raced.race
        assert race.dense["sparsegen"] is race.sparse
        assert race.speedup == min(1, race.speedup_over_torch)


@pytest.mark.parametrize("winograd", [True, False])
def test_where_a_kernel_skips_zeros_the_rival_is_our_dense_code(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    monkeypatch: pytest.MonkeyPatch,
    winograd: bool,
) -> None:
    compiled: list[tuple[bool, bool, list[str]]] = []
    compile_graph = bench.compile_graph

    def watch(*arguments: Any, dense: bool, winograd: bool, **options: Any) -> CompiledModel:
        found = compile_graph(*arguments, dense=dense, winograd=winograd, **options)
        compiled.append((dense, winograd, [report.format for report in found.layers]))
        return found

    monkeypatch.setattr(bench, "compile_graph", watch)
    comparison = quick(
        model, inputs, structure="vector:8", sparsity=0.9, layers="twice", network=False, target="haswell",
        winograd=winograd,
    )  # fmt: skip
    (layer,) = comparison.layers
    assert (layer.sparse, layer.implementation, layer.format) == (True, "panels", "masked_panels")
    sparse, dense = compiled
    assert sparse == (False, winograd, ["masked_panels"])
    assert dense[:2] == (True, winograd)
    assert dense[2] == ["dense_panels"] or (winograd and dense[2] == ["winograd"])
    assert layer.race.dense["sparsegen"] is not layer.race.sparse


def test_options_come_as_a_record_or_by_name(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    options = CompareOptions(threads=1, samples=1, layers="down", network=False)
    comparison = compare(model, inputs, options, sparsity=0.75)
    assert (comparison.samples, comparison.sparsity, comparison.end_to_end) == (1, 0.75, None)
    with pytest.raises(OptionError, match="there is no option 'sampels'"):
        compare(model, inputs, sampels=1)


def test_doubts_are_kept(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestration, "warn_of_noise", lambda: ("other work",))
    monkeypatch.setattr(orchestration, "spread_warnings", lambda layers, network: iter(("times vary",)))
    assert quick(model, inputs, layers="down", network=False).warnings == ("other work", "times vary")


def test_layers_alone_leave_the_network_out(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    told: list[tuple[str, int, int]] = []
    comparison = quick(model, inputs, network=False, on_progress=lambda *step: told.append(step))
    assert len(comparison.layers) == 3
    assert (comparison.end_to_end, comparison.compile_seconds) == (None, None)
    assert told[-1][1:] == (len(told) - 1, len(told))


def test_csr_products_take_part_where_asked(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    comparison = quick(model, inputs, network=False, csr=True, layers="down")
    (layer,) = comparison.layers
    assert set(layer.race.csr) == {"scipy-csr", "torch-csr"}
    assert set(layer.race.dense) == {peers.NCHW, peers.NHWC, "sparsegen"}
    assert all(found.passes for found in layer.csr_accuracy.values())
    assert comparison.geomean_speedup_over_csr == pytest.approx(
        min(timing.median_ms for timing in layer.race.csr.values()) / layer.race.sparse.median_ms
    )


def test_the_callers_model_and_threads_are_left_alone(
    model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> None:
    before, threads = copy.deepcopy(model.state_dict()), torch.get_num_threads()
    quick(model, inputs, layers="down")
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_in_training_is_compared_as_it_is(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    prune.l1_unstructured(model.down, "weight", amount=0.75)
    model(*inputs).sum().backward()
    assert not model.down.weight.is_leaf
    hooks = dict(model.down._forward_pre_hooks)
    comparison = quick(model, inputs, sparsity=0, layers="down")
    assert comparison.layers[0].density == 0.25
    assert comparison.end_to_end is not None
    assert comparison.end_to_end.accuracy.passes
    assert dict(model.down._forward_pre_hooks) == hooks


def test_rivals_run_without_masks(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[nn.Module] = []
    found = peers.network_peers

    def watch(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[dict[str, Call], dict[str, str]]:
        raced.append(model)
        return found(model, inputs)

    monkeypatch.setattr(network, "network_peers", watch)
    quick(model, inputs, layers="down")
    (seen,) = raced
    assert not any(module._forward_pre_hooks for module in seen.modules())
    assert (seen.get_parameter("down.weight") == 0).float().mean() == 0.5


def test_an_exported_program_is_compared(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    program = torch.export.export(model, inputs)
    comparison = compare(program, inputs, threads=1, samples=1, layers="down", structure="vector")
    assert comparison.layers[0].density == pytest.approx(0.5, abs=0.02)
    assert comparison.end_to_end.accuracy.passes


def test_progress_counts_every_step(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    told: list[tuple[str, int, int]] = []
    quick(model, inputs, layers="down", on_progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert told[-1][2] == len(told)
    assert "timing layer down" in [text for text, _, _ in told]


def test_layers_are_chosen_by_pattern_among_the_pruned() -> None:
    conv = Conv2d(np.zeros((1, 1, 1, 1), np.float32), None)
    names = ("stem", "block.conv1", "block.conv2", "block.conv2#2", "other")
    layers = [Layer(name, conv, ("x",), (1, 1, 4, 4)) for name in names]
    graph = LayerGraph({"x": (1, 1, 4, 4)}, layers, ("other",))
    pruned = ("block.conv1", "block.conv2", "other")
    chosen = orchestration._choose(graph, pruned, "block.*")
    assert [layer.name for layer in chosen] == ["block.conv1", "block.conv2", "block.conv2#2"]
    with pytest.raises(SparsegenError, match=r"no pruned layer matches 'stem'.*block.conv1, block.conv2"):
        orchestration._choose(graph, pruned, "stem")


def test_inputs_go_with_a_model_and_not_with_a_name(
    inputs: tuple[torch.Tensor, ...], model: nn.Module
) -> None:
    with pytest.raises(SparsegenError, match="needs example_inputs"):
        compare(model)
    with pytest.raises(SparsegenError, match="not with a name"):
        compare("resnet18", inputs)


def test_more_threads_than_cores_is_a_warning(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    threads = available_cores() + 1
    with pytest.warns(UserWarning, match=f"{threads} threads on"):
        comparison = compare(model, inputs, threads=threads, samples=1, layers="down")
    assert comparison.threads == threads


@pytest.mark.filterwarnings("ignore:torch itself computes")
def test_what_torch_computes_is_told_with_its_share() -> None:
    ids, mask = torch.ones(2, 12, dtype=torch.int64), torch.zeros(2, 12, dtype=torch.bool)
    found = compare(tokens().eval(), (ids, 2.0, mask), layers=None, samples=3, threads=1, sparsity=0)
    assert found.end_to_end is not None
    assert found.end_to_end.accuracy.passes
    part = found.end_to_end.torch
    assert part is not None
    assert part.calls["aten.embedding.default"] == 1
    assert 0 < part.share < 1
    assert found.batch == 2


def test_no_part_is_torchs(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    found = compare(model, inputs, layers=None, samples=1, threads=1)
    assert found.end_to_end is not None
    assert found.end_to_end.torch is None
    assert found.as_dict()["end_to_end"]["torch"] is None
