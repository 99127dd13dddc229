"""Real speech for what wants more than digits: nine speakers, told apart by two vowels that they say.

The data is UCI's Japanese Vowels (M. Kudo, J. Toyama and M. Shimbo, 1999) from the files of the PyPI package
`aeon`, of which nothing else is read; tests/no-deps-requirements.txt says how it is installed.
"""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor, nn

from tests.digits import convolve_and_halve, installed_file

COEFFICIENTS, FRAMES, SPEAKERS = 12, 29, 9


class VowelNetwork(nn.Module):
    """Logits [N, 9] of utterances [N, 1, 12, 29]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(*convolve_and_halve(1, 32), *convolve_and_halve(32, 64))
        self.last = nn.Sequential(nn.Conv2d(64, 128, kernel_size=3, padding=1), nn.ReLU())
        self.fc_layers = nn.Sequential(nn.Linear(128 * 3 * 7, 256), nn.ReLU(), nn.Linear(256, SPEAKERS))

    def forward(self, utterances: Tensor) -> Tensor:
        return self.fc_layers(self.last(self.conv_layers(utterances)).flatten(1))


@functools.cache
def japanese_vowels(part: Literal["TRAIN", "TEST"]) -> tuple[Tensor, Tensor]:
    """Utterances [N, 1, 12, 29], zeros after their last frame, and their speakers [N], int64."""
    path = installed_file("aeon", f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts")
    # After "@data", a line an utterance: 12 series of values and the speaker, 1 to 9, colons between.
    rows = path.read_text().lower().partition("@data")[2].split()
    utterances, speakers = torch.zeros(len(rows), 1, COEFFICIENTS, FRAMES), []
    for utterance, row in zip(utterances, rows, strict=True):
        *series, speaker = row.split(":")
        values = torch.tensor([[float(value) for value in each.split(",")] for each in series])
        utterance[0, :, : values.shape[1]] = values
        speakers.append(int(speaker) - 1)
    return utterances, torch.tensor(speakers)
