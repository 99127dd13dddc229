"""What torch itself computes of a compiled network, and the share of a call that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sparsegen.compare.report import TorchPart
from sparsegen.runtime.model import CompiledModel


def torch_part(
    compiled: CompiledModel, inputs: Sequence[Any], named: Mapping[str, Any] | None = None, *, samples: int
) -> TorchPart | None:
    """The operators that torch computes, and their share of the time: medians of calls, layer by layer.

    None for a network without any.
    """
    calls = Counter(layer.operator for layer in compiled.layers if layer.operator)
    if not calls:
        return None
    named = named or {}
    compiled(*inputs, **named)  # warm, as the calls that are timed
    runs = [compiled.layer_seconds(*inputs, **named) for _ in range(samples)]
    seconds = {name: median(run[name] for run in runs) for name in runs[0]}
    torchs = sum(seconds[layer.name] for layer in compiled.layers if layer.operator)
    return TorchPart(dict(calls), torchs / sum(seconds.values()))
