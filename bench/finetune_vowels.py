"""Fine-tuning at 50 and 88 % sparsity, on speech: see bench/finetuning.py.

    OMP_NUM_THREADS=1 python -m bench.finetune_vowels [--sparsities 0.5 0.88] [--json FILE]

Nine speakers say two vowels (UCI's Japanese Vowels, as aeon ships them): 270 utterances to train with and 370
to test with, the split of those who recorded them. The network of tests/vowels.py reads the 12 coefficients
of each frame as an image. An epoch is PASSES times over the utterances, so few are they.
"""

from __future__ import annotations

from bench.command import run
from bench.finetuning import Examples, Task, finetune
from tests.vowels import VowelNetwork, japanese_vowels

PASSES = 12


def vowels() -> Task:
    """Nine speakers, utterances [N, 1, 12, 29]."""
    utterances, speakers = japanese_vowels("TRAIN")
    training = Examples(utterances.repeat(PASSES, 1, 1, 1), speakers.repeat(PASSES))
    return Task(VowelNetwork, training, Examples(*japanese_vowels("TEST")))


def main() -> None:
    finetune("Fine-tuning of pruned networks, on speech.", vowels)


if __name__ == "__main__":
    run(main)
