"""Masks: held while a model trains, combined call by call, the caller's own, and made permanent."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from sparsegen.errors import SparsegenError
from sparsegen.pruning import (
    PrunedLayer,
    apply_masks,
    block,
    budget,
    column_combine,
    finalize,
    magnitude,
    n_m,
    vector,
)
from tests.pruning.networks import Network, images, network, weight_of
from tests.sampling import examples

Prune = Callable[[nn.Module], tuple[PrunedLayer, ...]]

TIMES = {name: {(1, 4): 1.0, (2, 4): 2.0} for name in ("wide", "narrow")}
METHODS: dict[str, Prune] = {
    "magnitude": lambda model: magnitude(model, sparsity=0.6),
    "global": lambda model: magnitude(model, sparsity=0.6, scope="global"),
    "n_m": lambda model: n_m(model, n=1, m=4),
    "vector": lambda model: vector(model, sparsity=0.6),
    "block": lambda model: block(model, sparsity=0.6, shape=(2, 4)),
    "column_combine": lambda model: column_combine(model, sparsity=0.8),
    "budget": lambda model: budget(model, times=TIMES, budget=3.0),
    "apply_masks": lambda model: apply_masks(model, {"narrow": torch.arange(72).reshape(6, 12, 1, 1) % 2}),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def train(model: nn.Module, steps: int = 3) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        model(images()).square().mean().backward()
        optimiser.step()


@every_method
def test_masks_hold_while_the_model_trains(method: Prune) -> None:
    model = network()
    layers = method(model)
    before = {layer.name: weight_of(model, layer.name).clone() for layer in layers}
    train(model)
    finalize(model)
    for layer in layers:
        weight = weight_of(model, layer.name)
        assert torch.equal(weight == 0, before[layer.name] == 0)
        assert not torch.equal(weight, before[layer.name])
        assert layer.sparsity == float((weight == 0).double().mean())


@every_method
def test_the_trained_parameter_stays_the_optimisers(method: Prune) -> None:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    method(model)
    before = weight_of(model, "wide").clone()
    model(images()).sum().backward()
    optimiser.step()
    finalize(model)
    assert not torch.equal(weight_of(model, "wide"), before)
    assert any(model.wide.weight is each for group in optimiser.param_groups for each in group["params"])


@every_method
def test_finalize_leaves_no_trace(method: Prune) -> None:
    model, untouched = network(), network()
    method(model)
    expected = model(images())
    assert finalize(model) is model
    assert not torch_prune.is_pruned(model)
    assert [name for name, _ in model.named_parameters()] == [
        name for name, _ in untouched.named_parameters()
    ]
    assert list(model.state_dict()) == list(untouched.state_dict())
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model(images()), expected)
    copy.deepcopy(model)


def test_finalize_of_what_has_no_masks() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    finalize(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    program = torch.export.export(model.eval(), (images(),))
    assert finalize(program) is program


def test_finalize_takes_masks_of_torchs_own_too() -> None:
    model = network()
    torch_prune.l1_unstructured(model.wide, "bias", 0.5)
    torch_prune.random_structured(model.stem, "weight", 0.5, dim=0)
    finalize(model)
    assert not torch_prune.is_pruned(model)
    assert int((model.wide.bias == 0).sum()) == 6


@given(st.lists(st.sampled_from(sorted(set(METHODS) - {"budget"})), min_size=2, max_size=4))
@examples(30)
def test_what_is_pruned_stays_pruned(sequence: list[str]) -> None:
    model = network()
    zeros = {name: torch.zeros_like(weight_of(model, name), dtype=torch.bool) for name in ("wide", "narrow")}
    for name in sequence:
        try:
            layers = METHODS[name](model)
        except SparsegenError as error:
            assert "zeros already" in str(error)  # noqa: PT017  (the methods that may refuse are drawn)
            continue
        for layer in layers:
            weight = weight_of(model, layer.name)
            assert (weight[zeros[layer.name]] == 0).all()
            zeros[layer.name] = weight == 0
            assert layer.sparsity == float(zeros[layer.name].double().mean())
        train(model, steps=1)


def test_pruning_again_and_again_keeps_one_hook() -> None:
    model = network()
    for sparsity in (0.2, 0.4, 0.6, 0.8):
        magnitude(model, sparsity=sparsity)
        train(model, steps=1)
    (hook,) = model.wide._forward_pre_hooks.values()
    assert isinstance(hook, torch_prune.CustomFromMask)


def test_masks_narrow_those_that_torch_set() -> None:
    model = network()
    torch_prune.random_unstructured(model.wide, "weight", 0.3)
    before = weight_of(model, "wide") == 0
    wide, _ = magnitude(model, sparsity=0.5)
    assert wide.sparsity == 0.5
    assert (weight_of(model, "wide")[before] == 0).all()
    assert len(model.wide._forward_pre_hooks) == 1


def test_weights_are_judged_as_they_are_after_a_training_step() -> None:
    # `weight` itself is only made anew in the next call.
    model = network()
    magnitude(model, sparsity=0.1)
    masked = weight_of(model, "wide") == 0
    trained = torch.arange(1.0, 865).reshape(12, 8, 3, 3)
    with torch.no_grad():
        model.wide.get_parameter("weight_orig").copy_(trained)
    magnitude(model, sparsity=0.5)
    largest = trained[~masked].sort().values[-432:]
    kept = weight_of(model, "wide")
    assert torch.equal(kept[kept != 0].sort().values, largest)


def test_tied_weights_are_masked_in_every_module() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(4, 4))
    model[2].weight = model[1].weight
    (layer,) = magnitude(model, sparsity=0.5)
    assert layer.name == "1"
    assert torch.equal(weight_of(model, "1"), weight_of(model, "2"))
    (layer,) = magnitude(model, sparsity=0.75)
    finalize(model)
    assert model[1].weight is model[2].weight
    assert float((model[2].weight == 0).double().mean()) == 0.75


def test_a_pruned_model_can_be_copied_before_it_trains() -> None:
    model = network()
    magnitude(model, sparsity=0.5)
    assert torch.equal(copy.deepcopy(model)(images()), model(images()))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int64])
@pytest.mark.parametrize("exported", [False, True])
def test_masks_of_the_callers_own(dtype: torch.dtype, exported: bool) -> None:
    module = network().eval()
    model = torch.export.export(module, (images(),)) if exported else module
    before = weight_of(module, "wide").clone()
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(before.shape, generator=generator) > 0.3
    hidden = torch.ones(8, 6)
    wide, other = apply_masks(model, {"wide": mask.to(dtype), "hidden": hidden})
    after = weight_of(module, "wide")
    assert torch.equal(after, before * mask)
    assert wide.sparsity == float((~mask).double().mean())
    assert wide.kept_l1 == pytest.approx(float(after.abs().sum() / before.abs().sum()))
    assert (other.name, other.sparsity, other.kept_l1) == ("hidden", 0.0, 1.0)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"wider": torch.ones(1)}, "no layer 'wider' to mask; the layers are: stem, wide, depthwise"),
        (
            {"wide": torch.ones(12, 8, 3, 1)},
            r"shape \(12, 8, 3, 1\): give one of the weight's, \(12, 8, 3, 3\)",
        ),
        ({"narrow": torch.full((6, 12, 1, 1), 0.5)}, "mask of layer 'narrow' has other values than 0 and 1"),
        ({"narrow": torch.full((6, 12, 1, 1), float("nan"))}, "has other values than 0 and 1"),
        ({"narrow": [[1]]}, "mask of layer 'narrow' is a list: give a torch.Tensor"),
    ],
)
def test_masks_that_do_not_fit(masks: dict[str, Tensor], message: str) -> None:
    model = Network()
    with pytest.raises(SparsegenError, match=message):
        apply_masks(model, {"hidden": torch.zeros(8, 6), **masks})
    assert bool((model.hidden.weight != 0).all())
