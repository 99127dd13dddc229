"""Whole networks of the pytorchcv zoo, at small images, against torch in float64."""

from __future__ import annotations

from collections import Counter

import pytest
from torch import nn

from sparsegen.frontend import load_model
from tests.frontend.checking import check, describe, images, randomised

pytest.importorskip("pytorchcv")


def small(name: str) -> nn.Module:
    """The network, batch norms randomised, with a last pool that takes any image."""
    model, _ = load_model(name, batch=1)
    assert isinstance(model, nn.Module)
    for owner in model.children():
        if hasattr(owner, "final_pool"):
            owner.final_pool = nn.AdaptiveAvgPool2d(1)
    return randomised(model)


BASIC_BLOCK = ["Conv2d relu", "Conv2d add relu"]
PROJECTED_BLOCK = ["Conv2d", "Conv2d relu", "Conv2d add relu"]


def test_resnet18_is_convolutions_with_everything_fused() -> None:
    graph = check(small("resnet18"), images(1, 3, 64, 64), tolerance=1e-5)
    assert describe(graph) == [
        "Conv2d relu", "Pool2d",
        *BASIC_BLOCK, *BASIC_BLOCK,
        *PROJECTED_BLOCK, *BASIC_BLOCK,
        *PROJECTED_BLOCK, *BASIC_BLOCK,
        *PROJECTED_BLOCK, *BASIC_BLOCK,
        "AdaptivePool2d", "Reshape", "Linear",
    ]  # fmt: skip
    assert not graph.constants
    names = [layer.name for layer in graph.layers]
    assert names[0] == "features.init_block.conv.conv"
    assert names[2:4] == ["features.stage1.unit1.body.conv1.conv", "features.stage1.unit1.body.conv2.conv"]
    assert names[-1] == "output"


# Cores of each network, and the steps in epilogues, by number.
NETWORKS: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "mobilenet_w1": (
        {"Conv2d": 27, "AdaptivePool2d": 1, "Reshape": 1, "Linear": 1},
        {"relu": 27},
    ),
    "mobilenetv3_small_w1": (
        {"Conv2d": 54, "AdaptivePool2d": 10, "Identity": 9, "Reshape": 1},
        {"hardswish": 19, "hardsigmoid": 9, "relu": 14, "mul": 9, "add": 6},
    ),
    "squeezenet_v1_0": (
        {"Conv2d": 26, "Pool2d": 3, "Concat": 8, "AdaptivePool2d": 1, "Reshape": 1},
        {"relu": 26},
    ),
    "shufflenetv2_wd2": (
        {
            "Conv2d": 56, "Pool2d": 1, "Concat": 16, "Slice": 26, "Reshape": 33, "Permute": 16,
            "AdaptivePool2d": 1, "Linear": 1,
        },
        {"relu": 37},
    ),
    "densenet40_k12_cifar10": (
        {
            "Conv2d": 39, "Identity": 39, "Concat": 36, "Pool2d": 2, "AdaptivePool2d": 1, "Reshape": 1,
            "Linear": 1,
        },
        {"relu": 39, "mul": 39, "add": 39},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    cores, steps = NETWORKS[name]
    graph = check(small(name), images(1, 3, 64, 64), tolerance=1e-5)
    layers = [layer.split() for layer in describe(graph)]
    assert Counter(core for core, *_ in layers) == cores
    assert Counter(step for _, *epilogue in layers for step in epilogue) == steps
