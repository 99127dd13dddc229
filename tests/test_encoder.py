"""The encoder of a BERT, from transformers, exported and compiled, against torch in float64."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.frontend import from_torch
from tests.frontend.checking import check, describe, images
from tests.sampling import large

SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
ATTENTION = ["Conv2d", "Reshape"] * 3 + ["MatMul mul", "Softmax", "MatMul", "Reshape"]
LAYER = [*ATTENTION, "Conv2d add", "LayerNorm mul add", "Conv2d gelu", "Conv2d add", "LayerNorm mul add"]


def encoder(attention: str, *, layers: int = 1) -> nn.Module:
    """A small one, every weight and bias drawn anew: those of fresh layer norms are 1 and 0."""
    models = pytest.importorskip("bench.models", reason="needs transformers")  # which take seconds to import
    generator = torch.Generator().manual_seed(1)
    model: nn.Module = models.Encoder(layers=layers, attention=attention, **SIZES).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
    return model


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", [(1, 9, 32), (3, 16, 32)])
def test_exported_encoder_transposes_at_its_edges_alone(attention: str, shape: tuple[int, int, int]) -> None:
    graph = check(encoder(attention, layers=2), images(*shape), tolerance=1e-5)
    assert describe(graph) == ["Permute", "Reshape", *LAYER, *LAYER, "Reshape", "Permute"]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_encoder_of_few_tokens(attention: str) -> None:
    graph = check(encoder(attention), images(2, 5, 32), tolerance=1e-5)
    assert "Linear gelu" in describe(graph)


SETTINGS = [  # batches, tokens and targets
    (1, 16, "native"),
    (1, 21, "haswell"),
    (3, 100, "native"),
    (16, 16, "native"),
    (16, 9, "native"),  # batch lanes: so few tokens would leave vectors half empty
    (17, 33, "haswell"),
    (2, 5, "native"),
]


@large(("setting", "sparsity"), itertools.product(SETTINGS, [0.0, 0.5]), sample=7)
def test_compiled_encoder(setting: tuple[int, int, str], sparsity: float) -> None:
    batch, tokens, target = setting
    model, x = encoder("sdpa"), images(batch, tokens, 32)
    if sparsity:
        sparsegen.prune(model, "unstructured", sparsity=sparsity)
        sparsegen.pruning.finalize(model)
    compiled = sparsegen.compile(model, (x,), threads=1 + batch % 2, target=target)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(x.double())
    for _ in range(2):
        torch.testing.assert_close(compiled(x).double(), expected, rtol=0, atol=2e-5)
    sparse = [layer for layer in compiled.layers if layer.weight_shape and layer.density < 1]
    assert len(sparse) == (6 if sparsity else 0)


def test_every_linear_layer_of_an_encoder_is_pruned() -> None:
    model = encoder("sdpa", layers=2)
    pruned = sparsegen.prune(model, "unstructured", sparsity=0.5)
    assert len(pruned) == 12
    graph = from_torch(model, (images(1, 16, 32),))
    assert {layer.name for layer in pruned} <= {layer.name for layer in graph.layers}
