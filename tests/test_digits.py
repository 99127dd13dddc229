"""Real weights on real images: a compiled network decides as torch's does, on every image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from tests.digits import digit_network, mnist_5k

BATCH = 16  # some of the images are left over: a second compilation, with other lanes
EVERY = 4
"""Of the images, every fourth is read; in a soak all 5,000."""

# Percent right, without retraining.
DENSE_ACCURACY = 99.7
PRUNED_ACCURACY = {0.5: 99.7, 0.7: 98.9}


def test_the_dense_network_reads_the_digits() -> None:
    images, labels = mnist_5k()
    assert images.shape == (5000, 1, 28, 28)
    assert accuracy(torch_logits(digit_network(), images), labels) == pytest.approx(DENSE_ACCURACY, abs=0.1)


@pytest.mark.parametrize("sparsity", PRUNED_ACCURACY)
def test_the_compiled_network_decides_as_torch_does(sparsity: float, pytestconfig: pytest.Config) -> None:
    every = 1 if pytestconfig.getoption("--soak") else EVERY
    images, labels = (each[::every] for each in mnist_5k())
    assert len(images) % BATCH
    network = digit_network()
    prune_all_but_the_first(network, sparsity)

    expected = torch_logits(network, images)
    actual = compiled_logits(network, images)

    assert accuracy(expected, labels) == pytest.approx(PRUNED_ACCURACY[sparsity], abs=0.2)
    assert accuracy(actual, labels) == accuracy(expected, labels)
    assert torch.equal(actual.argmax(dim=1), expected.argmax(dim=1))
    assert (actual - expected).abs().max().item() < 1e-3


def prune_all_but_the_first(network: nn.Module, sparsity: float) -> None:
    """Zero the smallest weights of each layer but the first, linear layers included, in place."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers[1:]:
        magnitudes = layer.weight.detach().abs()
        threshold = magnitudes.flatten().kthvalue(round(sparsity * magnitudes.numel())).values
        layer.weight.data[magnitudes <= threshold] = 0


def torch_logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():  # a few at a time, whose values the caches hold
        return torch.cat([network(few) for few in images.split(100)])


def compiled_logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits in batches of BATCH, and what is left over in a smaller one compiled for it."""
    batches = images.split(BATCH)
    compiled = {len(batch): sparsegen.compile(network, (batch,)) for batch in (batches[0], batches[-1])}
    return torch.cat([compiled[len(batch)](batch) for batch in batches])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percent of the images whose largest logit is that of their label."""
    return 100 * (logits.argmax(dim=1) == labels).double().mean().item()
