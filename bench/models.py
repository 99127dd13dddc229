"""Models that pytorchcv has not, to compare on.

As `sparsegen compare bench.models:bert --input-shape 128x768`.
"""

from __future__ import annotations

import sys

from torch import Tensor, nn

# transformers imports torchvision where it is installed. The one that pytorchcv brings along is a CUDA
# build, which does not load beside a CPU build of torch; no model here needs it.
sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]

from transformers import BertConfig, BertModel  # noqa: E402


class Encoder(nn.Module):
    """A BERT's encoder: hidden states [N, S, hidden size] in and out, every token attending to all.

    `sizes` are other fields of transformers' BertConfig; weights are random.
    """

    def __init__(self, *, layers: int, attention: str = "sdpa", **sizes: int) -> None:
        super().__init__()
        config = BertConfig(num_hidden_layers=layers, attn_implementation=attention, **sizes)
        self.layers = BertModel(config, add_pooling_layer=False).encoder

    def forward(self, states: Tensor) -> Tensor:
        """The last hidden states."""
        result: Tensor = self.layers(states).last_hidden_state
        return result


def bert() -> nn.Module:
    """Four of the twelve layers of BERT base, on hidden states [N, S, 768].

    One layer is like another: four keep compiling and measuring short.
    """
    return Encoder(layers=4)
