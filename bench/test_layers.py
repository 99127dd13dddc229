"""The 3x3 layers of ResNet-18, 50 % unstructured: sparsegen's kernel against torch's in both layouts.

Kernels alone: no layout is converted inside a timing. Before each round the rivals run once, so that
every engine finds the caches as the others leave them, as in a run that alternates.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

import sparsegen

SPARSITY = 0.5
ROUNDS = 30
ENGINES = ("sparsegen", "torch-nchw", "torch-nhwc")

Run = Callable[[], object]


@dataclass(frozen=True)
class Workload:
    """A 3x3 convolution of stride 1 whose input and output have the same shape."""

    channels: int
    size: int  # height and width
    batch: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.size}x{self.size}-batch{self.batch}"

    @property
    def dense_flops(self) -> int:
        return 2 * self.batch * self.size**2 * self.channels**2 * 9


WORKLOADS = [
    Workload(channels, size, batch)
    for batch in (16, 1)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7))
]


@pytest.fixture(scope="module", params=WORKLOADS, ids=str)
def workload(request: pytest.FixtureRequest) -> Workload:
    return request.param


@pytest.fixture(scope="module")
def engines(workload: Workload) -> Iterator[dict[str, Run]]:
    """A call of the layer by each engine, on the same input, after a check that they agree."""
    torch.manual_seed(0)
    images = torch.randn(workload.batch, workload.channels, workload.size, workload.size)
    layer = pruned_layer(workload.channels)
    compiled = sparsegen.compile(layer, (images,), threads=torch.get_num_threads())
    name = compiled.layers[0].name
    nhwc_layer = pruned_layer(workload.channels).to(memory_format=torch.channels_last)
    nhwc_images = images.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        # The call also leaves the input in the compiled layer's own layout, for `run_layer`.
        torch.testing.assert_close(compiled(images), layer(images), rtol=1e-4, atol=1e-4)
        yield {
            "sparsegen": lambda: compiled.run_layer(name),
            "torch-nchw": lambda: layer(images),
            "torch-nhwc": lambda: nhwc_layer(nhwc_images),
        }


@pytest.mark.parametrize("engine", ENGINES)
def test_layer(benchmark: BenchmarkFixture, workload: Workload, engines: dict[str, Run], engine: str) -> None:
    benchmark.group = str(workload)
    benchmark.extra_info.update(
        machine=platform.processor() or platform.machine(),
        threads=torch.get_num_threads(),
        batch=workload.batch,
        sparsity=SPARSITY,
        dense_flops=workload.dense_flops,
    )
    rivals = [run for name, run in engines.items() if name != engine]

    def run_rivals() -> None:
        for rival in rivals:
            rival()

    with torch.inference_mode():
        benchmark.pedantic(engines[engine], setup=run_rivals, rounds=ROUNDS, warmup_rounds=3)


def pruned_layer(channels: int) -> nn.Conv2d:
    """A layer with the same random weights at every call; of each two, the smaller ones are zero."""
    layer = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight: Tensor = layer.weight.normal_(std=(9 * channels) ** -0.5, generator=generator)
        threshold = weight.abs().flatten().kthvalue(round(SPARSITY * weight.numel())).values
        weight[weight.abs() <= threshold] = 0
    return layer
