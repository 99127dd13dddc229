"""Networks as people have them, small: of pytorchcv and of transformers, whole in one graph each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sparsegen import torch_backend
from sparsegen.frontend import load_model

pytestmark = pytest.mark.filterwarnings("ignore:torch itself computes")


def check(model: Any, *args: Any, **kwargs: Any) -> None:
    torch._dynamo.reset()
    options = {"threads": 1, "fallback": "torch"}
    with torch.inference_mode():
        compiled = torch.compile(model, backend="sparsegen", fullgraph=True, options=options)
        result, expected = compiled(*args, **kwargs), model(*args, **kwargs)
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)
    (graph,) = torch_backend.report()
    assert not graph.fallbacks
    assert graph.compilations[0].layers
    torch._dynamo.reset()


def test_one_of_pytorchcv() -> None:
    pytest.importorskip("pytorchcv")
    model, _ = load_model("resnet20_cifar10", batch=1)
    check(model, torch.randn(1, 3, 32, 32))


def test_one_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
    model = transformers.BertModel(transformers.BertConfig(num_hidden_layers=1, **sizes)).eval()
    tokens = torch.arange(8).view(1, 8)
    check(model, input_ids=tokens, attention_mask=torch.ones_like(tokens), return_dict=False)
