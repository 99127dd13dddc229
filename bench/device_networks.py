"""The networks that tables of devices are fitted on and checked against, as operators of devices.

`OPERATORS` keeps them, equal ones counted: tracing all takes minutes, and is done again by
`python -m bench.device_tables --trace`. They are as the frontend leaves them: a DenseNet's transitions pool
before they multiply, which saves it a tenth of its multiply-adds.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import torch
from torch import Tensor, nn

from sparsegen.devices import Operator, describe_graph
from sparsegen.files import write_file
from sparsegen.frontend import from_torch, load_model

OPERATORS = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Network:
    """A network's operators, and the elements of its input and result, for one image."""

    operators: tuple[Operator, ...]
    inputs: int
    outputs: int

    @property
    def multiply_adds(self) -> int:
        """Of its convolutions and linear layers."""
        return sum(each.multiply_adds for each in self.operators if each.weights)

    @property
    def weights(self) -> int:
        """All of them."""
        return sum(each.weights for each in self.operators)


def read_networks() -> dict[str, Network]:
    """All that `OPERATORS` has, by name."""
    kept = json.loads(OPERATORS.read_text())
    return {name: _network(record) for name, record in kept.items()}


def _network(record: dict[str, object]) -> Network:
    counted = record["operators"]
    assert isinstance(counted, list)
    operators = [Operator.from_dict(each) for count, each in counted for _ in range(count)]
    return Network(tuple(operators), int(str(record["inputs"])), int(str(record["outputs"])))


def trace_networks() -> None:
    """Write all networks to `OPERATORS`."""
    texts = []
    for name, (make, size) in MODELS.items():
        texts.append(f"{json.dumps(name)}: {_traced(make(), size)}")
    write_file(OPERATORS, "{" + ",\n".join(texts) + "}\n")


def _traced(model: nn.Module, size: int) -> str:
    """A network as JSON, an operator a line."""
    image = torch.zeros(1, 3, size, size)
    graph = from_torch(model.eval(), (image,))
    shapes = graph.shapes()
    counted = Counter(describe_graph(graph).values())
    lines = (f"[{count}, {json.dumps(operator.as_dict())}]" for operator, count in counted.items())
    outputs = sum(torch.Size(shapes[name]).numel() for name in graph.outputs)
    joined = ",\n".join(lines)
    return f'{{"inputs": {image.numel()}, "outputs": {outputs}, "operators": [\n{joined}]}}'


def _zoo(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model, _ = load_model(name, batch=1)
        assert isinstance(model, nn.Module)
        return model

    return make


def _resnet(name: str) -> Callable[[], nn.Module]:
    """A ResNet for images of any size."""

    def make() -> nn.Module:
        model = _zoo(name)()
        model.get_submodule("features").final_pool = nn.AdaptiveAvgPool2d(1)
        return model

    return make


class _Inception(nn.Module):
    """A block of Inception-V1: four branches, of 1x1; 1x1 and 3x3; 1x1 and 3x3; pooling and 1x1."""

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int):
        super().__init__()
        self.one = _conv(channels, one, 1)
        self.three = nn.Sequential(_conv(channels, three[0], 1), _conv(three[0], three[1], 3))
        # 3x3 where the paper has 5x5: so does the network that Google published times of.
        self.five = nn.Sequential(_conv(channels, five[0], 1), _conv(five[0], five[1], 3))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def _conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


def inception_v1() -> nn.Module:
    """GoogLeNet, which pytorchcv has not, with batch norm."""
    down = nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(
        _conv(3, 64, 7, 2), down, _conv(64, 64, 1), _conv(64, 192, 3), down,
        _Inception(192, 64, (96, 128), (16, 32), 32), _Inception(256, 128, (128, 192), (32, 96), 64), down,
        _Inception(480, 192, (96, 208), (16, 48), 64), _Inception(512, 160, (112, 224), (24, 64), 64),
        _Inception(512, 128, (128, 256), (24, 64), 64), _Inception(512, 112, (144, 288), (32, 64), 64),
        _Inception(528, 256, (160, 320), (32, 128), 128), nn.MaxPool2d(2, 2),
        _Inception(832, 256, (160, 320), (32, 128), 128), _Inception(832, 384, (192, 384), (48, 128), 128),
        nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1024, 1000),
    )  # fmt: skip


class _Fire(nn.Module):
    """A block of SqueezeNet with a bypass, which has a convolution where channels differ."""

    def __init__(self, channels: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)
        self.bypass = nn.Identity() if channels == 2 * expand else nn.Conv2d(channels, 2 * expand, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = torch.relu(self.squeeze(x))
        expanded = [torch.relu(self.one(squeezed)), torch.relu(self.three(squeezed))]
        bypassed: Tensor = self.bypass(x)
        return torch.cat(expanded, 1) + bypassed


def squeezenet_bypass() -> nn.Module:
    """SqueezeNet with all bypasses, as IOS times it."""
    return nn.Sequential(
        nn.Conv2d(3, 96, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2),
        _Fire(96, 16, 64), _Fire(128, 16, 64), _Fire(128, 32, 128), nn.MaxPool2d(3, 2),
        _Fire(256, 32, 128), _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256),
        nn.MaxPool2d(3, 2), _Fire(512, 64, 256), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


class _Node(nn.Module):
    """ReLU of the inputs' sum, depthwise 3x3, pointwise, batch norm."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, *inputs: Tensor) -> Tensor:
        x: Tensor = self.norm(self.pointwise(self.depthwise(torch.relu(sum(inputs[1:], inputs[0])))))
        return x


class _Stage(nn.Module):
    """A random graph of nodes; its results are summed."""

    def __init__(self, channels: int, out: int, nodes: int, seed: int):
        super().__init__()
        graph = nx.connected_watts_strogatz_graph(nodes, 4, 0.75, seed=seed)
        self.reads = [sorted(other for other in graph[node] if other < node) for node in range(nodes)]
        self.ends = [node for node in range(nodes) if max(graph[node]) < node]
        self.nodes = nn.ModuleList(
            _Node(out if reads else channels, out, 1 if reads else 2) for reads in self.reads
        )

    def forward(self, x: Tensor) -> Tensor:
        results: list[Tensor] = []
        for node, reads in zip(self.nodes, self.reads, strict=True):
            results.append(node(*[results[read] for read in reads] if reads else [x]))
        return sum((results[end] for end in self.ends[1:]), results[self.ends[0]])


def randwire(channels: int = 154) -> nn.Module:
    """RandWire as IOS times it: 154 channels, stages of 16, 32, 32 and 32 nodes.

    Its random graphs are others, with as many nodes and edges, so that one operator after the other it takes
    the same time.
    """
    first, last = channels // 2, 8 * channels
    widths = [first, *(channels << doubled for doubled in range(4))]
    sizes = [(*each, nodes) for each, nodes in zip(itertools.pairwise(widths), (16, 32, 32, 32), strict=True)]
    stages = [_Stage(*size, seed) for seed, size in enumerate(sizes)]
    return nn.Sequential(
        nn.Conv2d(3, first, 3, 2, 1), *stages, nn.ReLU(), nn.Conv2d(last, 1280, 1), nn.AdaptiveAvgPool2d(1)
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "DenseNet-169": (_zoo("densenet169"), 224),
    "Inception-V1": (inception_v1, 224),
    "Inception-V3": (_zoo("inceptionv3"), 299),
    "Inception-V4": (_zoo("inceptionv4"), 299),
    "MobileNet-V1": (_zoo("mobilenet_w1"), 224),
    "MobileNet-V2": (_zoo("mobilenetv2_w1"), 224),
    "NASNet-A large": (_zoo("nasnet_6a4032"), 331),
    "RandWire": (randwire, 224),
    "ResNet-152": (_resnet("resnet152"), 299),
    "ResNet-50": (_resnet("resnet50"), 299),
    "SqueezeNet": (_zoo("squeezenet_v1_0"), 224),
    "SqueezeNet, bypass": (squeezenet_bypass, 224),
    "VGG-16": (_zoo("vgg16"), 224),
    "VGG-19": (_zoo("vgg19"), 224),
}
"""How each is made, and the height and width of its image."""


def shares(networks: dict[str, Network]) -> Iterator[str]:
    """A line a network: its multiply-adds and its weights."""
    for name, network in networks.items():
        giga, mega = network.multiply_adds / 1e9, network.weights / 1e6
        yield f"{name}: {giga:.2f} G multiply-adds, {mega:.1f} M weights"
