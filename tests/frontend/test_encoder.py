"""The encoder of a BERT, from transformers, against torch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.frontend.checking import check, images

models = pytest.importorskip("bench.models", reason="needs transformers")

SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


def randomised(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, every weight and bias drawn anew: those of layer norms are 1 and 0."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
    return model.eval()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", [(1, 9, 32), (3, 16, 32)])
def test_encoder(attention: str, shape: tuple[int, int, int]) -> None:
    model = randomised(models.Encoder(layers=2, attention=attention, **SIZES))
    from tests.frontend.checking import describe

    print(describe(check(model, images(*shape), tolerance=1e-5)))
