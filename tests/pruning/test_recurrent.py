"""Weights of LSTMs and GRUs are pruned as linear layers are, in modules and programs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen import pruning
from sparsegen.errors import PruningError

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1")


class Tagger(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.network = kind(16, 32, num_layers=2)
        self.head = nn.Linear(32, 5)

    def forward(self, value: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.network(value)[0])
        return outputs


@pytest.fixture(params=[nn.LSTM, nn.GRU], ids=["lstm", "gru"])
def model(request: pytest.FixtureRequest) -> Tagger:
    torch.manual_seed(0)
    return Tagger(request.param).eval()


def test_modules_hold_their_masks_and_keep_the_order_of_parameters(model: Tagger) -> None:
    names = [name for name, _ in model.named_parameters()]
    layers = pruning.prune(model, structure="unstructured", sparsity=0.75)
    assert [layer.name for layer in layers] == [f"network.{name}" for name in WEIGHTS]
    value = torch.randn(3, 2, 16)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(value).sum().backward()
    optimiser.step()
    masked = model(value)
    assert float((model.network.weight_hh_l1 == 0).float().mean()) == 0.75
    assert pruning.finalize(model) is model
    assert [name for name, _ in model.named_parameters()] == names
    torch.testing.assert_close(model(value), masked)
    again = pruning.prune(model, structure="unstructured", sparsity=0.8)
    assert [layer.sparsity for layer in again] == pytest.approx([0.8] * 4, abs=1e-3)


def test_what_is_pruned_is_compiled_so(model: Tagger) -> None:
    pruning.prune(model, structure="unstructured", sparsity=0.75)
    value = torch.randn(3, 2, 16)
    compiled = sparsegen.compile(model, (value,))
    with torch.no_grad():
        torch.testing.assert_close(compiled(value), model(value))
    densities = [layer.density for layer in compiled.layers if layer.kernel == "recurrent"]
    assert densities == pytest.approx([0.25, 0.25])


def test_programs(model: Tagger) -> None:
    program = torch.export.export(model, (torch.randn(3, 2, 16),))
    layers = pruning.prune(program, structure="unstructured", sparsity=0.75)
    assert [layer.name for layer in layers] == [f"network.{name}" for name in WEIGHTS]
    assert float((program.state_dict["network.weight_ih_l1"] == 0).float().mean()) == 0.75


def test_a_program_that_masks_in_every_call_is_refused(model: Tagger) -> None:
    pruning.prune(model, structure="unstructured", sparsity=0.75)
    program = torch.export.export(model, (torch.randn(3, 2, 16),))
    with pytest.raises(
        PruningError, match=r"network\.weight_ih_l0' in every call: call sparsegen\.pruning\.finalize"
    ):
        pruning.prune(program, structure="unstructured", sparsity=0.8)


def test_a_network_alone_has_no_classifier() -> None:
    layers = pruning.prune(nn.GRU(8, 8), structure="unstructured", sparsity=0.5, skip=None)
    assert [layer.name for layer in layers] == list(WEIGHTS[:2])
