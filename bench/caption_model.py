"""A captioner of video frames: DenseNet-121 encodes a frame, an LSTM says 20 words about it.

The decoder has the sizes of a widely used captioner (Y. Choi's pytorch-tutorial, image_captioning):
embeddings of 256, 512 units, 9,956 words, 20 steps; with attention it looks at the 7 x 7 places of the
features before every step (Xu et al., "Show, attend and tell", 2015). Every step is fed the word that the
step before found the likeliest. The LSTM's state after a frame is where it begins with the next one. Weights
are random.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsegen.frontend import load_model
from sparsegen.hetero.operators.application import Application

IMAGE = (3, 224, 224)
FEATURES, PLACES = 1024, 49


class Encoder(nn.Module):
    """Images [N, 3, 224, 224] to features [N, 1024]; with attention, to those of places, [N, 49, 1024]."""

    def __init__(self, *, attention: bool = False) -> None:
        super().__init__()
        densenet, _ = load_model("densenet121", batch=1)
        self.features = densenet.get_submodule("features")
        self.attention = attention
        if attention:
            self.features.final_pool = nn.Identity()  # it averages the places

    def forward(self, image: Tensor) -> Tensor:
        """The features."""
        features: Tensor = self.features(image).flatten(2)
        return features.transpose(1, 2) if self.attention else features.flatten(1)


class Attention(nn.Module):
    """The mean of features [N, 49, 1024], weighted by how well each place fits a state [N, units]."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.place, self.state = nn.Linear(FEATURES, units), nn.Linear(units, units)
        self.score = nn.Linear(units, 1)

    def forward(self, features: Tensor, places: Tensor, hidden: Tensor) -> Tensor:
        """`places` are the features as `place` projects them, which is done once for all steps."""
        scores: Tensor = self.score(torch.tanh(places + self.state(hidden)[:, None]))
        return (torch.softmax(scores, 1) * features).sum(1)


class Decoder(nn.Module):
    """Features to `steps` words [N, steps] and the LSTM's state, hidden and cell [N, units], after them."""

    def __init__(
        self,
        *,
        attention: bool = False,
        words: int = 9956,
        units: int = 512,
        embedding: int = 256,
        steps: int = 20,
    ) -> None:
        super().__init__()
        self.steps, self.units = steps, units
        self.attention = Attention(units) if attention else None
        self.embed = nn.Embedding(words, embedding)
        self.project = nn.Linear(FEATURES, embedding)
        self.cell = nn.LSTMCell(2 * embedding if attention else embedding, units)
        self.word = nn.Linear(units, words)

    def forward(self, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The words' numbers, and the state; word 0 begins, where the features themselves do not."""
        words: list[Tensor] = []
        if self.attention is not None:
            places = self.attention.place(features)
            fed = self.embed(torch.zeros(len(hidden), dtype=torch.int64))
        else:
            fed = self.project(features)
        for _ in range(self.steps):
            if self.attention is not None:
                seen = self.project(self.attention(features, places, hidden))
                fed = torch.cat([fed, seen], 1)
            hidden, cell = self.cell(fed, (hidden, cell))
            words.append(self.word(hidden).argmax(1))
            fed = self.embed(words[-1])
        return torch.stack(words, 1), hidden, cell


def captioner(*, attention: bool = False, batch: int = 1, **sizes: int) -> Application:
    """Frames in, words out: operators "encoder" and "decoder", whose state is carried from frame to frame.

    sizes: the decoder's words, units, embedding and steps.
    """
    encoder = Encoder(attention=attention).eval()
    decoder = Decoder(attention=attention, **sizes).eval()
    start = torch.zeros(batch, decoder.units)
    application = Application()
    frame = application.input("frame", torch.zeros(batch, *IMAGE))
    features = application.add("encoder", encoder, frame)
    results = application.add("decoder", decoder, features, carried=("state", (start, start)))
    assert isinstance(results, tuple)
    application.returns(results[0])
    return application
