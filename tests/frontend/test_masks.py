"""Models whose masks are not final yet: compiled as they are, and left to train on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import sparsegen
from sparsegen.errors import SparsegenError
from sparsegen.pruning import finalize, magnitude
from tests.frontend.checking import images


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 8),
        nn.Linear(8, 4),
    )


def train(model: nn.Module, steps: int) -> None:
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        model(images(4, 3, 8, 8)).square().mean().backward()
        optimiser.step()
    model.eval()


@pytest.mark.filterwarnings("error")
def test_a_model_in_fine_tuning_is_compiled_as_it_is() -> None:
    model = network()
    magnitude(model, sparsity=0.75, linear=True)
    train(model, steps=2)
    x = images(4, 3, 8, 8)
    expected = model(x).detach()
    before = copy.deepcopy(model.state_dict())
    compiled = sparsegen.compile(model, (x,), threads=1)
    torch.testing.assert_close(compiled(x), expected)
    density = {layer.name: layer.density for layer in compiled.layers}
    assert (density["0"], density["3"], density["7"]) == (1.0, 0.25, 0.25)

    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    train(model, steps=2)
    finalize(model)
    assert float((model[3].weight == 0).double().mean()) == 0.75
    assert not torch.equal(model[3].weight, before["3.weight_orig"] * before["3.weight_mask"])
    torch.testing.assert_close(sparsegen.compile(model, (x,), threads=1)(x), model(x).detach())


def test_masks_of_torchs_own_on_any_parameter() -> None:
    model = network().eval()
    torch_prune.l1_unstructured(model[3], "bias", 0.5)
    torch_prune.ln_structured(model[3], "weight", 0.5, n=2, dim=0)
    torch_prune.random_unstructured(model[3], "weight", 0.5)
    x = images(4, 3, 8, 8)
    compiled = sparsegen.compile(model, (x,), threads=1)
    torch.testing.assert_close(compiled(x), model(x).detach())


def test_a_model_that_cannot_be_traced_keeps_its_weights() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), Branches()).eval()
    magnitude(model, sparsity=0.5, skip=("0",))
    weight = model[1].weight
    with pytest.raises(SparsegenError, match=r"torch.export cannot trace"):
        sparsegen.compile(model, (images(4, 3, 8, 8),), threads=1)
    assert model[1].weight is weight
