"""The captioner: what its parts give, and its state from frame to frame."""

from __future__ import annotations

import pytest
import torch

from bench.caption_model import FEATURES, PLACES, Decoder, captioner
from tests.frontend.checking import images

SIZES = {"words": 50, "units": 8, "embedding": 4, "steps": 3}


@pytest.mark.parametrize("attention", [False, True])
@torch.no_grad()
def test_every_step_is_fed_the_word_before(attention: bool) -> None:
    torch.manual_seed(0)
    decoder = Decoder(attention=attention, **SIZES).eval()
    features = torch.rand(2, PLACES, FEATURES) if attention else torch.rand(2, FEATURES)
    hidden = cell = torch.zeros(2, 8)
    words, *_ = decoder(features, hidden, cell)
    fed = decoder.embed(torch.zeros(2, dtype=torch.int64)) if attention else decoder.project(features)
    for step in range(3):
        if decoder.attention is not None:
            seen = decoder.attention(features, decoder.attention.place(features), hidden)
            fed = torch.cat([fed, decoder.project(seen)], 1)
        hidden, cell = decoder.cell(fed, (hidden, cell))
        torch.testing.assert_close(decoder.word(hidden).argmax(1), words[:, step])
        fed = decoder.embed(words[:, step])


@torch.no_grad()
def test_frames_continue_where_the_frame_before_ended() -> None:
    torch.manual_seed(0)
    app = captioner(**SIZES)
    encoder, decoder = (each.module for each in app.modules.values())
    frames = [images(1, 3, 224, 224, seed=seed) for seed in range(2)]
    hidden = cell = torch.zeros(1, 8)
    for frame in frames:
        words, hidden, cell = decoder(encoder(frame), hidden, cell)
        torch.testing.assert_close(app(frame), words)
    assert [(form.name, form.shape) for form in app.inputs] == [("frame", (1, 3, 224, 224))]
    assert app.operators()[1].carries == ("decoder",)
