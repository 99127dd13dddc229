"""What `make setup` installs works together."""

from __future__ import annotations

import importlib.util

import torch


def test_vision_models_of_transformers_import_and_run() -> None:
    # They ask for torchvision where it is installed, and its wheels break beside a CPU build of torch.
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=16,
    )
    model = ViTModel(config).eval()
    with torch.no_grad():
        result = model(torch.zeros(1, 3, 32, 32)).last_hidden_state
    assert result.shape == (1, 5, 32)


def test_nothing_installs_torchvision() -> None:
    assert importlib.util.find_spec("torchvision") is None
