"""Measured calls of networks, kept as JSON lines: what cost predictions are learned from and held against.

A line is a network at a sparsity and a number of threads: every call of ours and, for the dense network, of
torch's, with its features and the medians and minima of two rounds. Between the rounds lie those of the other
numbers of threads, so that they tell how far a measurement can be repeated.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench.families import families
from sparsegen.compiler import compile_graph
from sparsegen.errors import FileError
from sparsegen.frontend import from_torch, load_model
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.calls import Call, our_calls, torch_calls
from sparsegen.hetero.costs.measure import Timed, call_seconds, on_cores, samples_in_turn
from sparsegen.hetero.operators.cut import operators
from sparsegen.hetero.plans.plan import OURS, TORCH
from sparsegen.pruning import finalize, prune
from sparsegen.torch_graph.graph import TorchGraph

ROUNDS = 2


@dataclass(frozen=True)
class Network:
    """A network to measure; a fit leaves those of one family out together. `quick` ones compile quickly."""

    name: str
    family: str
    quick: bool = False


NETWORKS = (
    Network("squeezenet_v1_1", "SqueezeNet", quick=True),
    Network("mobilenet_w1", "MobileNet", quick=True),
    Network("resnet18", "ResNet", quick=True),
    Network("shufflenetv2_w1", "ShuffleNet", quick=True),
    Network("bninception", "Inception", quick=True),
    Network("bench.models:bert", "BERT", quick=True),
    Network("densenet121", "DenseNet"),
    Network("mobilenetv2_w1", "MobileNet"),
    Network("vgg11", "VGG"),
    Network("alexnet", "AlexNet"),
    Network("resnext26_32x4d", "ResNeXt"),
    Network("inceptionv3", "Inception"),
    Network("nasnet_4a1056", "NASNet"),
    Network("transformers ViT", "ViT"),
    Network("mobilenetv3_large_w1", "MobileNet"),
    Network("efficientnet_b0", "EfficientNet"),
    Network("resnet50", "ResNet"),
    Network("regnetx004", "RegNet"),
    Network("vovnet27s", "VoVNet"),
    Network("darknet_ref", "DarkNet"),
)
SPARSITIES = (0.0, 0.5, 0.8)
QUICK_SPARSITIES = (0.0, 0.8)
THREADS = (1, 2)


@dataclass(frozen=True)
class MeasuredCall:
    """A call, and of each round the median and the minimum, in seconds."""

    call: Call
    medians: tuple[float, ...]
    minima: tuple[float, ...]


@dataclass(frozen=True)
class Measurement:
    """A network's calls by implementation, and the layers of its blocks; `load` is the machine's, before."""

    network: str
    family: str
    sparsity: float
    threads: int
    cpu: str
    versions: str
    samples: int
    load: float
    blocks: tuple[tuple[str, ...], ...]
    calls: Mapping[str, tuple[MeasuredCall, ...]]

    @property
    def key(self) -> tuple[Any, ...]:
        """What is measured once."""
        return self.network, self.sparsity, self.threads, self.cpu, self.versions


def measure(
    network: Network, sparsity: float, threads: Sequence[int], *, cpu: str, versions: str, samples: int
) -> list[Measurement]:
    """A network's measurements with each number of threads, the rounds in turn."""
    load = os.getloadavg()[0]
    graph, inputs = graph_of(network.name, sparsity)
    implementations = (OURS, TORCH) if sparsity == 0 else (OURS,)
    theirs = TorchGraph(graph)
    timed: dict[int, list[Timed]] = {}
    for count in threads:
        ours = compile_graph(graph, threads=count)
        both: list[Timed] = [
            lambda ours=ours: call_seconds(ours, inputs),  # type: ignore[misc]
            lambda: theirs.layer_seconds(*inputs),
        ]
        timed[count] = both[: len(implementations)]
    cores = sorted(os.sched_getaffinity(0))
    rounds = [
        {
            count: on_cores(cores[:count], lambda calls=calls: samples_in_turn(calls, samples))  # type: ignore[misc]
            for count, calls in timed.items()
        }
        for _ in range(ROUNDS)
    ]
    blocks = tuple(each.layers for each in operators(graph, "block"))
    made = []
    for count in threads:
        calls = {OURS: our_calls(graph, count), TORCH: torch_calls(graph, count)}
        found = {
            implementation: tuple(
                _measured(call, [each[count][at][call.name] for each in rounds])
                for call in calls[implementation]
                if call.name in rounds[0][count][at]
            )
            for at, implementation in enumerate(implementations)
        }
        names = (network.name, network.family, sparsity, count, cpu, versions)
        made.append(Measurement(*names, samples, load, blocks, found))
    return made


def _measured(call: Call, rounds: Sequence[Sequence[float]]) -> MeasuredCall:
    return MeasuredCall(call, tuple(map(statistics.median, rounds)), tuple(map(min, rounds)))


def graph_of(name: str, sparsity: float) -> tuple[LayerGraph, tuple[Any, ...]]:
    """A network of batch 1 as a graph, with zeros at random in its convolutions and linear layers; inputs."""
    model: Any
    if name in families():
        network, (args, kwargs) = families()[name].make()
        model, inputs = _ByPosition(network, len(args), tuple(kwargs)), (*args, *kwargs.values())
    else:
        model, inputs = load_model(
            name, batch=1, input_shape=(128, 768) if name == "bench.models:bert" else None
        )
    if sparsity:
        prune(model, structure="unstructured", sparsity=sparsity, linear=True)
        finalize(model)
    return from_torch(model, inputs), inputs


class _ByPosition(nn.Module):
    """A network that takes all inputs by position, as timed calls do, and gives its first result."""

    def __init__(self, network: nn.Module, positional: int, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.positional, self.names = network, positional, names
        self.eval()

    def forward(self, *inputs: Any) -> Any:
        named = dict(zip(self.names, inputs[self.positional :], strict=True))
        return self.network(*inputs[: self.positional], **named)[0]


def append(path: Path, measurements: Sequence[Measurement]) -> None:
    """Add lines to a file. Raises FileError where that fails."""
    try:
        with path.open("a") as file:
            file.writelines(json.dumps(asdict(each)) + "\n" for each in measurements)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error


def read(path: Path) -> list[Measurement]:
    """The measurements of a file, the last of a key; none where there is no file.

    Raises FileError for a file that `append` did not write.
    """
    if not path.exists():
        return []
    try:
        found = [_measurement(json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path} cannot be read as measurements of this version: {error}; name another file by --data"
        ) from error
    return list({each.key: each for each in found}.values())


def _measurement(record: dict[str, Any]) -> Measurement:
    calls = {
        implementation: tuple(
            MeasuredCall(_call(each["call"]), tuple(each["medians"]), tuple(each["minima"]))
            for each in measured
        )
        for implementation, measured in record["calls"].items()
    }
    return Measurement(**{**record, "calls": calls, "blocks": tuple(map(tuple, record["blocks"]))})


def _call(record: dict[str, Any]) -> Call:
    return Call(**{**record, "parts": tuple(record["parts"])})
