"""A 2-layer LSTM and a block of GPT-2 small: our times against those of eager torch and torch.compile.

    python -m bench.recurrent [--samples 30] [--sparsity 0.8] [--batches 1 8] [--json FILE]

The LSTM has 256 units and reads 50 steps; the block is one of transformers' GPT2Model, with its embedding, on
128 tokens. Weights are zero at random places, a share of every matrix beside embeddings. One thread; the
rivals are called in turn. Errors are relative to the largest result of torch in float64.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import sparsegen
from bench.command import run
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.peers import compiled_peer, network_reference
from sparsegen.compare.timing import time_in_turn
from sparsegen.files import check_writable, write_file
from sparsegen.target import parse_target

UNITS, STEPS, TOKENS = 256, 50, 128


@dataclass(frozen=True)
class Row:
    """One network at one batch; milliseconds are medians, and `compiled_ms` None where torch.compile fails.

    `torch` are the operators that torch computes in ours, `errors` ours and eager torch's.
    """

    network: str
    batch: int
    ms: float
    eager_ms: float
    compiled_ms: float | None
    errors: tuple[float, float]
    torch: tuple[str, ...]
    compile_seconds: float
    message: str = ""


def lstm() -> nn.Module:
    """Two layers of 256 units."""
    return nn.LSTM(UNITS, UNITS, num_layers=2, batch_first=True)


class Block(nn.Module):
    """GPT-2 small with one block, without a cache: token ids to the last hidden states."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2Model

        self.model = GPT2Model(GPT2Config(n_layer=1, use_cache=False))

    def forward(self, ids: Tensor) -> Any:
        return self.model(input_ids=ids, use_cache=False).last_hidden_state


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "LSTM 2 x 256, 50 steps": (lstm, lambda batch: torch.randn(batch, STEPS, UNITS)),
    "GPT-2 small, 1 block, 128 tokens": (Block, lambda batch: torch.randint(0, 50257, (batch, TOKENS))),
}


def thinned(model: nn.Module, sparsity: float) -> nn.Module:
    """The model in evaluation mode, with that share of every matrix zero; embeddings stay."""
    embeddings = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2 and id(parameter) not in embeddings:
                parameter.mul_(torch.rand(parameter.shape) >= sparsity)
    return model.eval()


def measure(network: str, batch: int, *, sparsity: float, samples: int) -> Row:
    """Compile a network, compare its results, and time it."""
    torch.manual_seed(0)
    build, example = NETWORKS[network]
    model, value = thinned(build(), sparsity), example(batch)
    ours = sparsegen.compile(model, (value,), threads=1)
    calls: dict[str, Callable[[], object]] = {"ours": lambda: ours(value), "eager": lambda: model(value)}
    message = ""
    with torch.no_grad():
        correct = _first(network_reference(model, (value,)))
        errors = tuple(_error(_first(call()), correct) for call in calls.values())
        with torch._dynamo.config.patch(allow_rnn=True):
            compiled = compiled_peer(model, (value,))
        if isinstance(compiled, str):
            message = f"torch.compile: {compiled}"
        else:
            calls["compiled"] = compiled
        times = time_in_turn(calls, samples=samples)
    return Row(
        network,
        batch,
        times["ours"].median_ms,
        times["eager"].median_ms,
        times["compiled"].median_ms if "compiled" in times else None,
        (errors[0], errors[1]),
        tuple(layer.operator for layer in ours.layers if layer.operator),
        ours.compile_seconds,
        message,
    )


def _first(result: Any) -> Tensor:
    found: Tensor = result[0] if isinstance(result, tuple) else result
    return found


def _error(result: Tensor, correct: Tensor) -> float:
    return float((result.double() - correct).abs().max() / correct.abs().max())


def table(rows: Sequence[Row]) -> Table:
    """A line a network and batch."""
    shown = Table("network", title="one thread, milliseconds")
    for column in (
        "batch",
        "ours",
        "eager",
        "torch.compile",
        "over eager",
        "over compile",
        "error",
        "torch's",
    ):
        shown.add_column(column, justify="right")
    for row in rows:
        shown.add_row(
            row.network,
            str(row.batch),
            f"{row.ms:.2f}",
            f"{row.eager_ms:.2f}",
            "fails" if row.compiled_ms is None else f"{row.compiled_ms:.2f}",
            f"{row.eager_ms / row.ms:.2f}x",
            "" if row.compiled_ms is None else f"{row.compiled_ms / row.ms:.2f}x",
            f"{row.errors[0]:.0e}",
            ", ".join(row.torch),
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json:
        check_writable("--json", asked.json)
    torch.set_num_threads(1)
    rows = [
        measure(network, batch, sparsity=asked.sparsity, samples=asked.samples)
        for network in NETWORKS
        for batch in asked.batches
    ]
    console, machine = Console(), asdict(describe_machine(parse_target("native"), 1))
    console.print(table(rows))
    console.print(f"{machine['cpu']}, {machine['isa']}, torch {machine['torch']}")
    for message in {row.message for row in rows if row.message}:
        console.print(message)
    if asked.json:
        told = {"machine": machine, "sparsity": asked.sparsity, "rows": [asdict(row) for row in rows]}
        write_file(asked.json, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
