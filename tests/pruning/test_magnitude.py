"""Magnitude pruning: exact counts, the largest kept, vectors whole, the right layers."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.errors import SparsegenError
from sparsegen.pruning import magnitude
from sparsegen.pruning.magnitude import VECTOR, Structure


class Network(nn.Module):
    """A stem, two convolutions to prune, a depthwise one, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.wide = nn.Conv2d(8, 10, 3, padding=1)
        self.depthwise = nn.Conv2d(10, 10, 3, groups=10)
        self.narrow = nn.Conv2d(10, 6, 1, bias=False)
        self.classifier = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(torch.relu(self.depthwise(self.wide(self.stem(x)))))
        return self.classifier(x.mean((2, 3)))


def sandwich(weight: Tensor) -> nn.Sequential:
    """A model whose only convolution to prune has `weight`."""
    channels, inputs = weight.shape[:2]
    middle = nn.Conv2d(inputs, channels, tuple(weight.shape[2:]), bias=False)  # type: ignore[arg-type]
    middle.weight = nn.Parameter(weight.clone())
    return nn.Sequential(nn.Conv2d(1, inputs, 1), middle, nn.Linear(1, 1))


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    """Filters [K, C, kh, kw] of few distinct values, so that magnitudes tie."""
    shape = [
        draw(st.integers(1, 9)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
    ]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    if draw(st.booleans()):
        return torch.randn(shape, generator=generator)
    return torch.randint(1, 4, shape, generator=generator).float()


sparsities = st.floats(0, 0.999)


def pruned(weight: Tensor, *, sparsity: float, structure: Structure) -> Tensor:
    model = sandwich(weight)
    assert magnitude(model, sparsity=sparsity, structure=structure) == ("1",)
    return model[1].weight.detach()


@given(weights(), sparsities)
@settings(deadline=None, max_examples=60)
def test_unstructured_zeroes_exactly_the_smallest(weight: Tensor, sparsity: float) -> None:
    result = pruned(weight, sparsity=sparsity, structure="unstructured")
    dropped = result == 0
    assert int(dropped.sum()) == round(sparsity * weight.numel())
    assert torch.equal(result[~dropped], weight[~dropped])
    if dropped.any() and not dropped.all():
        assert weight[dropped].abs().max() <= weight[~dropped].abs().min()


@given(weights(), sparsities)
@settings(deadline=None, max_examples=60)
def test_vectors_are_kept_or_dropped_whole(weight: Tensor, sparsity: float) -> None:
    result = pruned(weight, sparsity=sparsity, structure="vector")
    groups = [(old, new) for old, new in zip(weight.split(VECTOR), result.split(VECTOR), strict=True)]
    dropped = torch.stack([(new == 0).all(dim=0) for _, new in groups])
    scores = torch.stack([old.abs().mean(dim=0) for old, _ in groups])
    assert int(dropped.sum()) == round(sparsity * dropped.numel())
    for (old, new), gone in zip(groups, dropped, strict=True):
        assert torch.equal(new[:, ~gone], old[:, ~gone])
    if dropped.any() and not dropped.all():
        assert scores[dropped].max() <= scores[~dropped].min()


@given(weights(), sparsities, st.sampled_from(["unstructured", "vector"]))
@settings(deadline=None, max_examples=30)
def test_pruning_is_deterministic_and_idempotent(
    weight: Tensor, sparsity: float, structure: Structure
) -> None:
    once = pruned(weight, sparsity=sparsity, structure=structure)
    assert torch.equal(once, pruned(weight, sparsity=sparsity, structure=structure))
    assert torch.equal(once, pruned(once, sparsity=sparsity, structure=structure))


def test_of_equal_weights_the_first_go() -> None:
    result = pruned(torch.ones(2, 2, 1, 1), sparsity=0.5, structure="unstructured")
    assert result.flatten().tolist() == [0, 0, 1, 1]


def test_first_convolution_classifier_and_depthwise_stay_dense() -> None:
    model = Network()
    before = copy.deepcopy(model)
    assert magnitude(model, sparsity=0.75) == ("wide", "narrow")
    for name in ("stem", "depthwise", "classifier"):
        assert torch.equal(model.get_submodule(name).weight, before.get_submodule(name).weight)  # type: ignore[arg-type]


def test_a_convolution_that_classifies_stays_dense() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 10, 1))
    assert magnitude(model, sparsity=0.5) == ("1",)


def test_skip_replaces_the_defaults() -> None:
    assert magnitude(Network(), sparsity=0.5, skip=()) == ("stem", "wide", "narrow")
    assert magnitude(Network(), sparsity=0.5, skip=("w*", "narrow")) == ("stem",)


@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_program_is_pruned_as_its_module(decomposed: bool) -> None:
    model = Network().eval()
    program = torch.export.export(model, (torch.randn(2, 3, 8, 8),))
    program = program.run_decompositions() if decomposed else program
    # A program shares its weights with the module it came from.
    model = copy.deepcopy(model)
    assert magnitude(program, sparsity=0.6, structure="vector") == magnitude(
        model, sparsity=0.6, structure="vector"
    )
    for name, weight in model.state_dict().items():
        assert torch.equal(program.state_dict[name], weight)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(program.module()(x), model(x))


def test_a_transposed_convolution_is_left_alone() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 4, 2), nn.Conv2d(4, 2, 1)
    )
    program = torch.export.export(model.eval(), (torch.randn(1, 3, 4, 4),)).run_decompositions()
    assert magnitude(program, sparsity=0.5) == ("1",)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_sparsity_outside_its_range(sparsity: float) -> None:
    with pytest.raises(SparsegenError, match="0 <= sparsity < 1"):
        magnitude(Network(), sparsity=sparsity)


def test_unknown_structure() -> None:
    with pytest.raises(SparsegenError, match="unstructured, vector"):
        magnitude(Network(), sparsity=0.5, structure="blocks")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "model", [nn.Linear(3, 3), nn.Sequential(nn.Conv2d(3, 3, 1), nn.Linear(1, 1)), nn.ReLU()], ids=str
)
def test_nothing_to_prune(model: nn.Module) -> None:
    with pytest.raises(SparsegenError, match="no convolution to prune"):
        magnitude(model, sparsity=0.5)
