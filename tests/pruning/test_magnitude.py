"""Magnitude pruning: exact counts, the largest kept, in each layer or over all, the right layers."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.errors import SparsegenError
from sparsegen.pruning import PrunedLayer, finalize, magnitude, vector
from tests.pruning.networks import Network, filters, images, network, refused, sandwich, sparsities, weight_of
from tests.sampling import examples


def names(layers: tuple[PrunedLayer, ...]) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers)


def check_smallest_gone(before: Tensor, after: Tensor, count: int) -> None:
    dropped = after == 0
    assert int(dropped.sum()) == count
    assert torch.equal(after[~dropped], before[~dropped])
    if dropped.any() and not dropped.all():
        assert before[dropped].abs().max() <= before[~dropped].abs().min()


@given(filters(), sparsities, st.booleans())
@examples(60)
def test_exactly_the_smallest_of_a_layer_go(weight: Tensor, sparsity: float, linear: bool) -> None:
    weight = weight.flatten(1) if linear else weight
    model = sandwich(weight)
    told: list[PrunedLayer] = []
    if refused(
        sparsity,
        weight.numel(),
        lambda: told.extend(magnitude(model, sparsity=sparsity, linear=linear)),
    ):
        return
    (layer,) = told
    result = weight_of(model, "1")
    check_smallest_gone(weight, result, round(sparsity * weight.numel()))
    assert (layer.name, layer.shape) == ("1", tuple(weight.shape))
    assert layer.sparsity == float((result == 0).double().mean())
    assert layer.kept_l1 == pytest.approx(float(result.abs().sum() / weight.abs().sum()))


@given(st.lists(filters(), min_size=1, max_size=3), sparsities)
@examples(40)
def test_globally_exactly_the_smallest_of_all_layers_go(weights: list[Tensor], sparsity: float) -> None:
    model = nn.Sequential(*(sandwich(weight)[1] for weight in weights))
    layers = magnitude(model, sparsity=sparsity, scope="global", skip=())
    before = torch.cat([weight.flatten() for weight in weights])
    after = torch.cat([weight_of(model, layer.name).flatten() for layer in layers])
    check_smallest_gone(before, after, round(sparsity * before.numel()))


@given(filters(), sparsities, st.sampled_from(["layer", "global"]))
@examples(30)
def test_pruning_again_changes_nothing(weight: Tensor, sparsity: float, scope: str) -> None:
    model, sparsity = sandwich(weight), min(sparsity, 1 - 1 / weight.numel())
    magnitude(model, sparsity=sparsity, scope=scope)  # type: ignore[arg-type]
    once = weight_of(model, "1").clone()
    for again in (model, sandwich(once)):
        (layer,) = magnitude(again, sparsity=sparsity, scope=scope)  # type: ignore[arg-type]
        assert torch.equal(weight_of(again, "1"), once)
        assert layer.kept_l1 == 1.0


def test_of_equal_weights_the_first_go() -> None:
    model = sandwich(torch.ones(2, 2, 1, 1))
    magnitude(model, sparsity=0.5)
    assert weight_of(model, "1").flatten().tolist() == [0, 0, 1, 1]


def test_a_global_threshold_may_empty_a_layer() -> None:
    model = nn.Sequential(sandwich(torch.full((2, 2, 1, 1), 0.1))[1], sandwich(torch.ones(2, 2, 1, 1))[1])
    small, large = magnitude(model, sparsity=0.5, scope="global", skip=())
    assert (small.sparsity, large.sparsity) == (1.0, 0.0)
    assert small.notes == ("layer '0' lost all of its weights to the common threshold",)
    assert large.notes == ()
    assert (small.kept_l1, large.kept_l1) == (0.0, 1.0)


def test_first_convolution_classifier_and_depthwise_stay_dense() -> None:
    model = network()
    before = copy.deepcopy(model)
    assert names(magnitude(model, sparsity=0.75)) == ("wide", "narrow")
    for name in ("stem", "depthwise", "hidden", "classifier"):
        assert torch.equal(weight_of(model, name), weight_of(before, name))


def test_linear_layers_are_pruned_where_asked_for() -> None:
    assert names(magnitude(network(), sparsity=0.5, linear=True)) == ("wide", "narrow", "hidden")
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    assert names(magnitude(model, sparsity=0.5, linear=True)) == ("0",)


@pytest.mark.parametrize("linear", [False, True])
def test_a_model_of_linear_layers_alone_is_pruned(linear: bool) -> None:
    perceptron = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert names(magnitude(perceptron, sparsity=0.5, linear=linear)) == ("0",)
    block = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    assert names(magnitude(block, sparsity=0.5, linear=linear)) == ("0", "2")


def test_a_convolution_that_classifies_stays_dense() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 10, 1))
    assert names(magnitude(model, sparsity=0.5)) == ("1",)


def test_skip_replaces_the_defaults() -> None:
    assert names(magnitude(network(), sparsity=0.5, skip=())) == ("stem", "wide", "narrow")
    assert names(magnitude(network(), sparsity=0.5, skip=("w*", "narrow"))) == ("stem",)
    with pytest.raises(
        SparsegenError, match=r"skip: no layer matches 'features\.\*'.* stem, wide, depthwise"
    ):
        magnitude(network(), sparsity=0.5, skip=("stem", "features.*"))


@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_program_is_pruned_as_its_module(decomposed: bool) -> None:
    model = network().eval()
    program = torch.export.export(model, (images(),))
    program = program.run_decompositions() if decomposed else program
    # A program shares its weights with the module it came from.
    model = copy.deepcopy(model)
    found = magnitude(program, sparsity=0.6, linear=True)
    assert found == magnitude(model, sparsity=0.6, linear=True)
    for name, weight in finalize(model).state_dict().items():
        assert torch.equal(program.state_dict[name], weight)
    torch.testing.assert_close(program.module()(images()), model(images()))


def test_a_program_that_masks_its_weights_is_refused() -> None:
    model = network().eval()
    magnitude(model, sparsity=0.5)
    program = torch.export.export(finalize(copy.deepcopy(model)), (images(),))
    assert names(magnitude(program, sparsity=0.5)) == ("wide", "narrow")
    with pytest.warns(UserWarning, match="assigned during export"):
        program = torch.export.export(model, (images(),))
    with pytest.raises(SparsegenError, match=r"weight of 'wide'.*finalize\(model\) before torch.export"):
        magnitude(program, sparsity=0.5)


def test_transposed_convolutions_of_modules_and_programs() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 4, 2), nn.Conv2d(4, 2, 1)
    ).eval()
    x = torch.randn(1, 3, 4, 4)
    program = torch.export.export(model, (x,))
    taken_apart = program.run_decompositions()
    for each in (model, program, taken_apart):
        assert names(magnitude(each, sparsity=0.5)) == ("1", "2")
    assert torch.equal(program.state_dict["2.weight"] != 0, model[2].weight != 0)
    assert torch.equal(taken_apart.state_dict["2.weight"] != 0, model[2].weight != 0)


def test_convolutions_of_rows() -> None:
    model = nn.Sequential(
        nn.Conv1d(3, 4, 1), nn.Conv1d(4, 4, 3, groups=2), nn.ConvTranspose1d(4, 6, 2), nn.Conv1d(6, 2, 1)
    ).eval()
    program = torch.export.export(model, (torch.randn(1, 3, 9),))
    for each in (model, program):
        assert names(magnitude(each, sparsity=0.5)) == ("1", "2")
    assert int((program.state_dict["2.weight"] == 0).sum()) == int((model[2].weight == 0).sum()) == 24


def test_rows_of_a_transposed_convolution_are_output_channels() -> None:
    """A vector keeps or drops an input channel and tap for two channels of the result, group by group."""
    layer = nn.ConvTranspose2d(4, 8, 2, groups=2)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), layer, nn.Conv2d(8, 1, 1))
    (pruned,) = vector(model, sparsity=0.5, rows=2)
    kept = layer.weight != 0  # [C, K / groups, kh, kw]
    assert pruned.shape == (4, 4, 2, 2)
    assert pruned.sparsity == 0.5
    assert torch.equal(kept[:, ::2], kept[:, 1::2])
    assert not torch.equal(kept[::2], kept[1::2])


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_sparsity_outside_its_range(sparsity: float) -> None:
    with pytest.raises(SparsegenError, match="0 <= sparsity < 1"):
        magnitude(network(), sparsity=sparsity)


def test_unknown_scope() -> None:
    with pytest.raises(SparsegenError, match="'model': choose one of layer, global"):
        magnitude(network(), sparsity=0.5, scope="model")  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_model_pruned_below_its_sparsity(scope: str) -> None:
    model = network()
    magnitude(model, sparsity=0.75)
    before = copy.deepcopy(model.state_dict())
    message = r"layer 'wide' is 75.0% zeros already, more than the [\d.]+% asked for"
    with pytest.raises(SparsegenError, match=message):
        magnitude(model, sparsity=0.5, scope=scope)  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_sparsity_0_holds_the_zeros_there_are() -> None:
    model = network()
    with torch.no_grad():
        model.wide.weight[0] = 0
    wide, narrow = magnitude(model, sparsity=0)
    assert (wide.sparsity, narrow.sparsity) == (1 / 12, 0)
    assert "weight_mask" in dict(model.wide.named_buffers())
    assert "weight_mask" not in dict(model.narrow.named_buffers())


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    "model", [nn.Sequential(nn.Conv2d(3, 3, 1), nn.Linear(1, 1)), nn.Conv2d(3, 3, 1), nn.ReLU()], ids=str
)
def test_nothing_to_prune(model: nn.Module, linear: bool) -> None:
    with pytest.raises(SparsegenError, match=f"no {'layer' if linear else 'convolution'} to prune"):
        magnitude(model, sparsity=0.5, linear=linear)


def test_a_classifier_alone_is_not_pruned() -> None:
    with pytest.raises(SparsegenError, match="no layer to prune: it has 0 convolutions and 1 linear"):
        magnitude(nn.Linear(4, 3), sparsity=0.5)


def test_weights_that_are_not_finite() -> None:
    model = network()
    with torch.no_grad():
        model.narrow.weight[0, 0] = float("nan")
    with pytest.raises(SparsegenError, match="layer 'narrow' has NaN or infinite weights"):
        magnitude(model, sparsity=0.5)


def test_a_weight_that_is_computed() -> None:
    model = Network()
    nn.utils.parametrizations.weight_norm(model.wide)
    with pytest.raises(SparsegenError, match="layer 'wide' computes its weight"):
        magnitude(model, sparsity=0.5)
