"""The networks that `bench.coverage` compiles: one a family, of pytorchcv and of transformers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparsegen.frontend.load import SEED, load_model, zoo_modules
from sparsegen.options import ExampleInput

Example = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional and named inputs."""


@dataclass(frozen=True)
class Family:
    """A family's name, and one of its networks; `make` gives it in evaluation mode, with inputs."""

    name: str
    model: str
    make: Callable[[], tuple[nn.Module, Example]]


def families() -> dict[str, Family]:
    """All families, by name."""
    return {family.name: family for family in (*_zoo(), *_transformers())}


def _zoo() -> Iterator[Family]:
    """pytorchcv's: a family is a file of its, and the first network in it is the smallest."""
    first: dict[str, str] = {}
    for model, module in zoo_modules().items():
        first.setdefault(module.rpartition(".")[2], model)
    for family, model in first.items():
        yield Family(f"pytorchcv {family}", model, lambda model=model: _of_zoo(model))  # type: ignore[misc]


_INPUTS: dict[str, tuple[ExampleInput, ...]] = {
    "nvpattexp116bazel76": (ExampleInput((8, 16, 29)), ExampleInput((), dtype="int64")),
    "pfpcnet": (ExampleInput((1, 320, 240)),),
    "raft_things": (ExampleInput((3, 240, 432)), ExampleInput((3, 240, 432))),
    "superpointnet": (ExampleInput((1, 224, 224)),),
    "visemenet20": (
        ExampleInput((34, 8, 195), whole=True),
        ExampleInput((34, 76), dtype="int64", whole=True),
    ),
    "voca8flame": (ExampleInput((1, 16, 29)), ExampleInput((), dtype="int64")),
}
"""Inputs of pytorchcv's networks that take others than one image of three channels."""


def _of_zoo(model: str) -> tuple[nn.Module, Example]:
    network, inputs = load_model(model, batch=1, inputs=_INPUTS.get(model, ()))
    assert isinstance(network, nn.Module)
    return network, (inputs, {})


_IMAGE = (1, 3, 224, 224)
_TOKENS = 128

_CONFIGURED: dict[str, tuple[str, str, dict[str, Any], Mapping[str, tuple[int, ...]]]] = {
    "ViT": ("ViTConfig", "ViTModel", {"num_hidden_layers": 4}, {"pixel_values": _IMAGE}),
    "DeiT": ("DeiTConfig", "DeiTModel", {"num_hidden_layers": 4}, {"pixel_values": _IMAGE}),
    "ConvNeXt": ("ConvNextConfig", "ConvNextForImageClassification", {}, {"pixel_values": _IMAGE}),
    "Swin": ("SwinConfig", "SwinForImageClassification", {}, {"pixel_values": _IMAGE}),
    "ResNet": ("ResNetConfig", "ResNetForImageClassification", {}, {"pixel_values": _IMAGE}),
    "BERT": ("BertConfig", "BertModel", {"num_hidden_layers": 4}, {}),
    "DistilBERT": ("DistilBertConfig", "DistilBertModel", {"n_layers": 4}, {}),
    "GPT-2": ("GPT2Config", "GPT2LMHeadModel", {"n_layer": 4, "use_cache": False}, {}),
    "Whisper encoder": (
        "WhisperConfig",
        "WhisperModel",
        {"encoder_layers": 4, "decoder_layers": 1},
        {"input_features": (1, 80, 3000)},
    ),
}  # fmt: skip
"""Configuration, model, what is not the configuration's default, and inputs of floats; those of a model
without any are token ids and a mask."""


def _transformers() -> Iterator[Family]:
    for name in _CONFIGURED:
        yield Family(f"transformers {name}", _CONFIGURED[name][1], lambda name=name: _of_transformers(name))  # type: ignore[misc]


def _of_transformers(name: str) -> tuple[nn.Module, Example]:
    """A network with random weights and its default attention; layers like others are left out."""
    # transformers imports torchvision where it is installed, though no model here needs it; the package
    # index has it for a CUDA build of torch, beside which it does not load.
    sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]
    import transformers

    config, model, changed, floats = _CONFIGURED[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = getattr(transformers, model)(getattr(transformers, config)(**changed)).eval()
        if model == "WhisperModel":
            network = network.encoder
        inputs = {key: torch.randn(shape) for key, shape in floats.items()}
        if not inputs:
            mask = torch.ones(1, _TOKENS, dtype=torch.int64)
            inputs = {"input_ids": torch.randint(0, 1000, (1, _TOKENS)), "attention_mask": mask}
    return network, ((), inputs)
