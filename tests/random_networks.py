"""Networks drawn from a seed: any operators in any order, on any shapes, pruned in any way.

`RandomNetwork(seed)` is a module in evaluation mode and `.inputs` what it is called with. The same seed gives
the same network, weights and inputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsegen import pruning
from sparsegen.errors import PruningError

STRUCTURES = ("unstructured", "unstructured", "2:4", "vector:4", "block:2x2", "column-combined")
SPARSITIES = (0.0, 0.3, 0.5, 0.8, 0.95, 1.0)
BATCHES = (1, 1, 2, 3, 7, 8, 16, 17)

Apply = Callable[..., Tensor]
Made = tuple[Apply | nn.Module, int]
"""What is applied, and how many values it reads: the last one, and others of the same shape or rows."""


class RandomNetwork(nn.Module):
    """A chain of a few operators, some of which read an earlier value too; `seed` tells all of it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draw = random.Random(seed)
        batch, channels = self.draw.choice(BATCHES), self.draw.randint(1, 12)
        shape = (batch, channels, self.draw.randint(4, 14), self.draw.randint(4, 14))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.inputs = (torch.randn(shape),)
            self.steps: list[tuple[str, Any, list[int]]] = []
            self.kept = nn.ModuleList()
            self._grow()
            self._set_statistics()
        self.prune()
        self.eval()

    def forward(self, x: Tensor) -> Any:
        """The last value, and one of those before it where there are many."""
        values = self._run(x)
        return (values[-1], values[len(values) // 2]) if len(values) > 5 else values[-1]

    def _run(self, x: Tensor) -> list[Tensor]:
        values = [x]
        for _, apply, read in self.steps:
            values.append(apply(*(values[i] for i in read)))
        return values

    def describe(self) -> str:
        """The input's shape and the operators, in order."""
        names = [f"{name}{read}" for name, _, read in self.steps]
        return f"{tuple(self.inputs[0].shape)}: {', '.join(names)}"

    def prune(self) -> None:
        """Prune what a structure can be given to; a layer that it does not fit leaves all as they are."""
        structure, sparsity = self.draw.choice(STRUCTURES), self.draw.choice(SPARSITIES)
        try:
            given = {} if structure in ("2:4", "column-combined") else {"sparsity": sparsity}
            pruning.prune(self, structure, skip=(), linear=self.draw.random() < 0.7, **given)  # type: ignore[arg-type]
        except PruningError:
            return
        pruning.finalize(self)

    def _grow(self) -> None:
        values = [self.inputs[0]]
        with torch.no_grad():
            for _ in range(self.draw.randint(2, 8)):
                name, apply, read = self._drawn(values)
                if isinstance(apply, nn.Module):
                    self.kept.append(apply)
                    apply.eval()
                value = apply(*(values[i] for i in read))
                if not 0 < value.numel() <= 1 << 16:
                    continue
                self.steps.append((name, apply, read))
                values.append(value)

    def _drawn(self, values: list[Tensor]) -> tuple[str, Any, list[int]]:
        """An operator that fits the last value, by name, and what it reads."""
        last = values[-1]
        makers = {2: _VECTORS, 3: _TOKENS, 4: _IMAGES}[last.dim()]
        name = self.draw.choice(list(makers))
        apply, count = makers[name](self.draw, last)
        if count == 1:
            return name, apply, [len(values) - 1]
        alike = [i for i, each in enumerate(values) if each.shape == last.shape]
        return name, apply, [len(values) - 1, self.draw.choice(alike)]

    def _set_statistics(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2.0)


def _conv(draw: random.Random, x: Tensor) -> Made:
    channels, height, width = x.shape[1:]
    kernel = draw.choice([k for k in (1, 1, 2, 3, 3, 5) if k <= min(height, width)])
    groups = draw.choice([g for g in (1, 1, 1, 2, 3, channels) if channels % g == 0])
    dilation = draw.choice([d for d in (1, 1, 2) if d * (kernel - 1) < min(height, width)])
    return nn.Conv2d(
        channels,
        groups * draw.randint(1, max(1, 16 // groups)),
        kernel,
        stride=(draw.randint(1, 2), draw.randint(1, 2)),
        padding=(draw.randint(0, kernel // 2), draw.randint(0, kernel // 2)),
        dilation=dilation,
        groups=groups,
        bias=draw.random() < 0.5,
    ), 1


def _transposed(draw: random.Random, x: Tensor) -> Made:
    stride, kernel = draw.randint(1, 2), draw.randint(2, 3)
    channels, padding = draw.randint(1, 8), draw.randint(0, 1)
    padding = min(padding, ((min(x.shape[2:]) - 1) * stride + kernel - 1) // 2)  # which leaves a pixel
    return nn.ConvTranspose2d(x.shape[1], channels, kernel, stride, padding=padding), 1


def _pool(draw: random.Random, x: Tensor) -> Made:
    kind = draw.choice([nn.MaxPool2d, nn.AvgPool2d])
    kernel = draw.randint(1, min(3, *x.shape[2:]))
    padding = draw.randint(0, kernel // 2)
    return kind(kernel, draw.randint(1, 2), padding, ceil_mode=draw.random() < 0.3), 1


def _activation(draw: random.Random, x: Tensor) -> Made:
    kinds: list[Apply] = [
        F.relu, F.relu6, F.silu, F.gelu, F.hardswish, torch.tanh, torch.sigmoid, F.leaky_relu, F.elu, F.mish,
        F.softplus, torch.abs, lambda v: v * v, lambda v: v.clamp(-0.5, 1.5), lambda v: (v * 0.3).exp(),
    ]  # fmt: skip
    return draw.choice(kinds), 1


def _combine(draw: random.Random, x: Tensor) -> Made:
    kinds: list[Apply] = [
        torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum, lambda a, b: torch.cat((a, b), 1),
        lambda a, b: torch.cat((a, b.relu()), a.dim() - 1), lambda a, b: a + 0.5 * b.sigmoid(),
    ]  # fmt: skip
    return draw.choice(kinds), 2


def _reduce(draw: random.Random, x: Tensor) -> Made:
    dim = draw.randint(1, x.dim() - 1)
    kinds: list[Apply] = [
        lambda v: v.mean(dim, keepdim=True), lambda v: v.sum(dim, keepdim=True) * 0.2,
        lambda v: v.amax(dim, keepdim=True), lambda v: v - v.amin(dim, keepdim=True),
        lambda v: v.softmax(dim), lambda v: v.log_softmax(dim), lambda v: F.normalize(v, dim=dim),
    ]  # fmt: skip
    return draw.choice(kinds), 1


def _move(draw: random.Random, x: Tensor) -> Made:
    dim = draw.randint(1, x.dim() - 1)
    extent = x.shape[dim]
    start = draw.randint(0, extent - 1)
    kinds: list[Apply] = [
        lambda v: v.narrow(dim, start, extent - start), lambda v: v.roll(start, dim), lambda v: v.flip(dim),
        lambda v: torch.cat(v.split(max(1, extent // 2), dim)[::-1], dim),
        lambda v: F.pad(v, (1, 2), value=0.5), lambda v: v.transpose(-1, -2),
        lambda v: torch.stack((v, v.relu()), -1).sum(-1),
    ]  # fmt: skip
    return draw.choice(kinds), 1


def _foreign(draw: random.Random, x: Tensor) -> Made:
    """Operators without a kernel, and other types in between."""
    dim = draw.randint(1, x.dim() - 1)
    kinds: list[Apply] = [
        lambda v: v.cumsum(dim) * 0.1, lambda v: v.sort(dim).values, lambda v: (v.double() * 0.5).to(v.dtype),
        lambda v: v.topk(1, dim).values + v, lambda v: v * (v > 0).to(v.dtype), lambda v: v.logcumsumexp(dim),
        lambda v: torch.where(v.isnan(), torch.zeros_like(v), v),
    ]  # fmt: skip
    return draw.choice(kinds), 1


def _norm(draw: random.Random, x: Tensor) -> Made:
    channels = x.shape[1]
    groups = draw.choice([g for g in (1, 2, 3, channels) if channels % g == 0])
    return draw.choice([nn.BatchNorm2d(channels), nn.GroupNorm(groups, channels)]), 1


def _resample(draw: random.Random, x: Tensor) -> Made:
    mode, size = draw.choice(["nearest", "bilinear"]), (draw.randint(3, 15), draw.randint(3, 15))
    return lambda v: F.interpolate(v, size, mode=mode), 1


def _to_tokens(draw: random.Random, x: Tensor) -> Made:
    return lambda v: v.flatten(2).transpose(1, 2), 1


def _attention(draw: random.Random, x: Tensor) -> Made:
    causal = draw.random() < 0.5
    return lambda v: F.scaled_dot_product_attention(v, v.tanh(), v, is_causal=causal), 1


_ANY: dict[str, Callable[[random.Random, Tensor], Made]] = {
    "activation": _activation, "combine": _combine, "reduce": _reduce, "move": _move, "torch's": _foreign,
}  # fmt: skip
_IMAGES = {
    **_ANY, "conv": _conv, "conv again": _conv, "pool": _pool, "norm": _norm, "resample": _resample,
    "transposed": _transposed, "tokens": _to_tokens,
    "flatten": lambda draw, x: (lambda v: v.flatten(1), 1),
}  # fmt: skip
_TOKENS = {
    **_ANY, "attention": _attention,
    "linear": lambda draw, x: (nn.Linear(x.shape[-1], draw.randint(1, 24), draw.random() < 0.5), 1),
    "layer norm": lambda draw, x: (nn.LayerNorm(x.shape[-1]), 1),
}  # fmt: skip
_VECTORS = {
    **_ANY, "linear": _TOKENS["linear"],
}  # fmt: skip
