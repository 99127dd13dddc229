"""Tokens as pixels: the graph computes the same, with convolutions between two transpositions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, LayerGraph
from tests.frontend.checking import Function, check, describe, images
from tests.sampling import examples

FIRST, LAST = ["Permute", "Reshape"], ["Reshape", "Permute"]


def features(layers: list[str]) -> list[str]:
    """The layers between the first transposition and the last."""
    assert layers[:2] == FIRST
    assert layers[-2:] == LAST
    return layers[2:-2]


class Block(nn.Module):
    """A linear layer, and what a model does before and after it."""

    def __init__(
        self,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor, Tensor], Tensor] = lambda y, x: y,
        *,
        out: int = 12,
    ) -> None:
        super().__init__()
        self.before, self.after, self.linear = before, after, nn.Linear(12, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.linear(self.before(x)), x)


BLOCKS: dict[str, tuple[Block, list[str]]] = {
    "linear": (Block(), ["Conv2d"]),
    "gelu": (Block(after=lambda y, x: F.gelu(y)), ["Conv2d gelu"]),
    "residual": (Block(after=lambda y, x: y + x), ["Conv2d add"]),
    "two sides": (Block(after=lambda y, x: y * y.tanh() + x), ["Conv2d", "Identity tanh mul add"]),
    "layer norm": (Block(after=lambda y, x: F.layer_norm(y + x, (12,))), ["Conv2d add", "LayerNorm"]),
    "layer norm of all": (Block(after=lambda y, x: F.layer_norm(y, (9, 12))), ["Conv2d", "LayerNorm"]),
    "softmax of features": (Block(after=lambda y, x: y.softmax(-1)), ["Conv2d", "Softmax"]),
    "softmax of tokens": (Block(after=lambda y, x: y.softmax(1)), ["Conv2d", "Softmax"]),
    "constant by feature": (
        Block(after=lambda y, x: y.relu() * torch.arange(12, dtype=y.dtype)), ["Conv2d relu mul"],
    ),
    "constant by token": (
        Block(after=lambda y, x: y + torch.arange(9, dtype=y.dtype).view(9, 1)), ["Conv2d add"],
    ),
    "constant of both": (
        Block(after=lambda y, x: y + torch.arange(108, dtype=y.dtype).view(1, 9, 12)), ["Conv2d add"],
    ),
    "heads": (
        Block(after=lambda y, x: y.view(-1, 9, 3, 4).transpose(1, 2).relu().transpose(1, 2).flatten(2)),
        ["Conv2d", "Reshape", "Identity relu"],
    ),
    "heads and back": (
        Block(after=lambda y, x: y.view(-1, 9, 3, 4).transpose(1, 2).transpose(1, 2).flatten(2)),
        ["Conv2d"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", BLOCKS)
def test_block(name: str, batch: int) -> None:
    model, layers = BLOCKS[name]
    assert features(describe(check(model.eval(), images(batch, 9, 12)))) == layers


def attention(heads: int, *, written_out: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Attention of 9 tokens to each other, whose query, key and value come of one linear layer."""

    def function(y: Tensor, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (y, y.relu(), y.tanh())
        )
        if written_out:
            weights = (query @ key.transpose(-1, -2) / 2).softmax(-1)
            result = weights @ value
        else:
            result = F.scaled_dot_product_attention(query, key, value, scale=0.5)
        return result.transpose(1, 2).flatten(2)

    return function


@pytest.mark.parametrize("written_out", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_attention_transposes_nothing(heads: int, written_out: bool) -> None:
    model = Block(after=attention(heads, written_out=written_out))
    layers = features(describe(check(model.eval(), images(2, 9, 12), tolerance=1e-5)))
    assert sum(layer.startswith("MatMul") for layer in layers) == 2
    assert not any(layer.startswith("Permute") for layer in layers)


def test_attention_to_what_is_no_linear_layers() -> None:
    def after(y: Tensor, x: Tensor) -> Tensor:
        query, key = (part.unflatten(2, (3, -1)).transpose(1, 2) for part in (y, x))
        return F.scaled_dot_product_attention(query, key, key).transpose(1, 2).flatten(2)

    layers = describe(check(Block(after=after).eval(), images(2, 9, 12), tolerance=1e-5))
    assert sum(layer.startswith("MatMul") for layer in layers) == 2


# What has no form on images, or not worth one: computed as it was.
PLAIN: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "few tokens": (nn.Linear(12, 5), (2, 7, 12)),
    "no tokens": (nn.Linear(12, 5), (9, 12)),
    "four dimensions": (nn.Linear(12, 5), (2, 3, 9, 12)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_linear(name: str) -> None:
    model, shape = PLAIN[name]
    assert describe(check(model.eval(), images(*shape))) == ["Linear"]


def test_first_token_is_sliced_from_the_sequence() -> None:
    graph = check(Block(after=lambda y, x: y[:, 0]).eval(), images(2, 9, 12))
    assert describe(graph)[-2:] == ["Slice", "Reshape"]


def test_what_is_read_in_both_forms_is_transposed_once() -> None:
    def after(y: Tensor, x: Tensor) -> Tensor:
        return torch.cat([y[:, :4] * 2, y[:, 4:], y + x], 1)

    layers = describe(check(Block(after=after).eval(), images(2, 9, 12)))
    assert [layer for layer in layers if layer.startswith("Permute")] == ["Permute"] * 3


def test_layers_keep_their_names_and_weights_their_zeros() -> None:
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12)).eval()
    model[0].weight.data[::2] = 0
    graph: LayerGraph = from_torch(model, (images(1, 9, 12),))
    first, second = (layer for layer in graph.layers if isinstance(layer.core, Conv2d))
    assert (first.name, second.name) == ("0", "2")
    assert first.shape == (1, 16, 1, 9)
    assert isinstance(first.core, Conv2d)
    assert not first.core.weight[::2].any()


@examples(25)
@given(
    st.lists(st.sampled_from(["linear", "norm", "gelu", "residual", "tokens", "heads", "mean"]), max_size=6),
    st.integers(1, 3),
    st.integers(6, 11),
)
def test_any_chain(steps: list[str], batch: int, tokens: int) -> None:
    torch.manual_seed(0)
    linear, mix = nn.Linear(12, 12).double(), nn.Linear(tokens, tokens).double()
    weights = [p.detach().float() for p in (linear.weight, linear.bias, mix.weight, mix.bias)]

    def function(x: Tensor, w: Tensor, b: Tensor, v: Tensor, c: Tensor) -> Tensor:
        y = F.linear(x, w, b)
        for step in steps:
            if step == "linear":
                y = F.linear(y, w, b)
            elif step == "norm":
                y = F.layer_norm(y, (12,), w[0], b)
            elif step == "gelu":
                y = F.gelu(y)
            elif step == "residual":
                y = y + x
            elif step == "tokens":
                y = F.linear(y.transpose(1, 2), v, c).transpose(1, 2)
            elif step == "heads":
                parts = y.unflatten(2, (3, 4)).transpose(1, 2)
                y = F.scaled_dot_product_attention(parts, parts, parts).transpose(1, 2).flatten(2)
            else:
                y = y - y.mean(1, keepdim=True)
        return y

    check(Function(function, *weights), images(batch, tokens, 12), tolerance=1e-5)


def test_features_are_sliced_in_the_form() -> None:
    """As GPT-2 has query, key and value of one linear layer."""
    model = nn.Sequential(
        nn.Linear(16, 24), Function(lambda x: x[..., 8:] * x[..., :16]), nn.Linear(16, 8)
    ).eval()
    kinds = [name.split()[0] for name in describe(check(model, images(2, 11, 16)))]
    assert kinds.count("Permute") == 2
    assert kinds.count("Slice") == 2
