"""Pruning while training, as bench/finetuning.py does: masks hold, and the compiled network agrees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sparsegen
from bench import finetuning as demonstration
from bench.finetune_digits import split
from bench.finetune_vowels import PASSES, vowels
from bench.finetuning import Examples, Trained
from tests.digits import DigitNetwork, mnist_5k

PRUNED = ("conv_layers.3", "conv_layers.6", "fc_layers.0")
EPOCHS, PRUNING_EPOCHS = 2, 1
SPARSITY = max(demonstration.SPARSITIES)


@pytest.fixture(scope="module")
def few() -> Examples:
    """Two hundred images: four steps an epoch."""
    images, labels = mnist_5k()
    return Examples(images[::25], labels[::25])


@pytest.fixture(scope="module", params=demonstration.METHODS)
def trained(request: pytest.FixtureRequest, few: Examples) -> Trained:
    torch.manual_seed(0)
    return demonstration.retrain(
        DigitNetwork(),
        request.param,
        few,
        sparsity=SPARSITY,
        seed=0,
        epochs=EPOCHS,
        pruning_epochs=PRUNING_EPOCHS,
    )


def test_zeros_survive_training(trained: Trained) -> None:
    assert tuple(layer.name for layer in trained.pruned) == PRUNED
    for layer in trained.pruned:
        weight = trained.network.get_parameter(f"{layer.name}.weight")
        zeros = (weight == 0).double().mean().item()
        # The last epoch trained on after the last pruning: what was zero then is zero now.
        assert zeros == pytest.approx(layer.sparsity, abs=1e-9)
        assert zeros >= SPARSITY - 1e-3


def test_other_layers_stay_dense_and_no_hook_is_left(trained: Trained) -> None:
    for name, module in trained.network.named_modules():
        assert not module._forward_pre_hooks
        if isinstance(module, nn.Conv2d | nn.Linear) and name not in PRUNED:
            assert module.weight.count_nonzero() == module.weight.numel()


def test_the_compiled_network_agrees_with_torch(trained: Trained, few: Examples) -> None:
    images = few.inputs[:16]
    compiled = sparsegen.compile(trained.network, (images,), threads=1)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(images), trained.network(images), rtol=1e-4, atol=1e-4)
    densities = {layer.name: layer.density for layer in compiled.layers}
    for layer in trained.pruned:
        assert densities[layer.name] == pytest.approx(1 - layer.sparsity)


def test_sparsity_and_packing_are_of_the_weights(trained: Trained) -> None:
    sparsity, packing = demonstration.sparsity_and_packing(trained)
    assert 0.88 <= round(sparsity, 3) < 0.95
    if not trained.method.startswith("combined"):
        assert packing is None
    else:
        assert packing is not None
        assert 0.5 < packing <= 1


def test_dense_training_prunes_nothing(few: Examples) -> None:
    network = DigitNetwork()
    before = demonstration.accuracy(network(few.inputs), few.labels)
    done = demonstration.retrain(
        network, demonstration.DENSE, few, sparsity=0.0, seed=0, epochs=2, pruning_epochs=1
    )
    assert done.pruned == ()
    assert demonstration.sparsity_and_packing(done) == (0.0, None)
    assert demonstration.accuracy(done.network(few.inputs), few.labels) > before + 20
    assert demonstration.accuracy(network(few.inputs), few.labels) == before


def test_the_split_is_stratified_and_always_the_same() -> None:
    images, labels = mnist_5k()
    training, testing = split(images, labels)
    assert (len(training.inputs), len(testing.inputs)) == (4000, 1000)
    assert testing.labels.bincount().tolist() == [100] * 10
    assert training.labels.bincount().tolist() == [400] * 10
    pixels = {image.numpy().tobytes() for image in testing.inputs}
    assert not any(image.numpy().tobytes() in pixels for image in training.inputs)
    assert torch.equal(split(images, labels)[1].inputs, testing.inputs)


def test_speakers_are_told_apart() -> None:
    # What passes over 270 utterances teach in an epoch; chance is 11 %.
    task = vowels()
    assert task.training.inputs.shape == (PASSES * 270, 1, 12, 29)
    assert task.testing.inputs.shape == (370, 1, 12, 29)
    assert task.training.labels.bincount().tolist() == [PASSES * 30] * 9
    torch.manual_seed(0)
    network = task.network()
    demonstration.train(network, task.training, epochs=1, seed=0)
    assert demonstration.accuracy(network(task.testing.inputs), task.testing.labels) > 70
