"""Models of transformers with their default attention, from small configurations, against eager torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from tests.frontend.checking import images
from tests.sampling import large

transformers = pytest.importorskip("transformers", reason="needs transformers")

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


class Embedded(nn.Module):
    """A model of transformers, called with embeddings."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, embedded: Tensor) -> Tensor:
        return self.model(inputs_embeds=embedded, use_cache=False).last_hidden_state


def bert() -> nn.Module:
    return Embedded(transformers.BertModel(transformers.BertConfig(vocab_size=30, **SIZES)))


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=30, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return Embedded(transformers.GPT2Model(config))


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=4, **SIZES))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image).last_hidden_state


SHAPES = {bert: (11, 32), gpt2: (11, 32), Vit: (3, 16, 16)}


@large(("make", "batch"), itertools.product(SHAPES, [1, 16]), sample=3)
def test_default_attention_of_transformers(make: Callable[[], nn.Module], batch: int) -> None:
    torch.manual_seed(0)
    model, value = make().eval(), images(batch, *SHAPES[make])
    with torch.no_grad():
        expected = model(value)
        actual = sparsegen.compile(model, (value,), threads=1)(value)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@large(("masked", "batch"), itertools.product([False, True], [1, 16]), sample=2)
def test_masks_that_are_given(masked: bool, batch: int) -> None:
    """Token ids and a mask of truth values are torch's to read; attention is ours."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=30, **SIZES)).eval()
    ids = torch.randint(0, 30, (batch, 11))
    mask = torch.ones(batch, 11, dtype=torch.int64)
    if masked:
        mask[:, 7:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        expected = model(**given).last_hidden_state
    with pytest.warns(UserWarning, match="torch itself computes"):
        compiled = sparsegen.compile(model, (), given, threads=1)
    assert all("attention" not in layer.operator for layer in compiled.layers)
    torch.testing.assert_close(compiled(**given).last_hidden_state, expected, rtol=1e-4, atol=1e-5)
    mask[:, 5:] = 0
    with torch.no_grad():
        expected = model(**given).last_hidden_state
    torch.testing.assert_close(compiled(**given).last_hidden_state, expected, rtol=1e-4, atol=1e-5)
