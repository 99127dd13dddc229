"""What callers of a compiled model rely on: results, inputs checked, calls from anywhere."""

from __future__ import annotations

import itertools
import mmap
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.errors import SparsegenError
from sparsegen.runtime.memory import allocate
from tests.sampling import large


class Branches(nn.Module):
    """Two inputs, a dict of results, a residual, a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)

    def forward(self, image: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        x = torch.relu(self.first(image))
        y = torch.relu(self.second(x) + x) * scale
        return {"full": y, "half": self.down(y)}


def inputs(batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(batch, 3, 10, 11), torch.rand(batch, 8, 1, 1)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Branches().eval()


@pytest.fixture(scope="module")
def compiled(network: nn.Module) -> sparsegen.CompiledModel:
    return sparsegen.compile(network, inputs(16), threads=2, winograd=False)  # one kernel on every CPU


@large(("batch", "target"), itertools.product([1, 3, 16, 40], ["native", "haswell"]), sample=4)
def test_results_have_the_torch_models_structure_and_values(
    network: nn.Module, batch: int, target: str
) -> None:
    model = sparsegen.compile(network, inputs(batch), threads=2, target=target)
    for seed in range(3):
        result, expected = model(*inputs(batch, seed)), network(*inputs(batch, seed))
        assert result.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(result[name], expected[name], rtol=1e-4, atol=1e-5)


def test_outputs_are_new_in_every_call(compiled: sparsegen.CompiledModel) -> None:
    first = compiled(*inputs(16, 1))
    kept = first["half"].clone()
    compiled(*inputs(16, 2))
    torch.testing.assert_close(first["half"], kept, rtol=0, atol=0)


def test_inputs_of_any_strides(network: nn.Module, compiled: sparsegen.CompiledModel) -> None:
    image, scale = inputs(16)
    result = compiled(image.to(memory_format=torch.channels_last), scale)
    torch.testing.assert_close(result["full"], network(image, scale)["full"], rtol=1e-4, atol=1e-5)


def test_calls_from_several_threads(network: nn.Module, compiled: sparsegen.CompiledModel) -> None:
    given = [inputs(16, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda pair: compiled(*pair)["half"], given))
    for pair, result in zip(given, results, strict=True):
        torch.testing.assert_close(result, network(*pair)["half"], rtol=1e-4, atol=1e-5)


def test_models_take_turns_with_each_other_and_with_torch(network: nn.Module) -> None:
    one, two = (sparsegen.compile(network, inputs(16), threads=threads) for threads in (1, 2))
    for seed in range(3):
        expected = network(*inputs(16, seed))["half"]
        for model in (one, two):
            torch.testing.assert_close(model(*inputs(16, seed))["half"], expected, rtol=1e-4, atol=1e-5)


def test_calls_do_not_grow_the_process(compiled: sparsegen.CompiledModel) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    given = inputs(16)
    for _ in range(20):
        compiled(*given)
    before = resident_bytes()
    for _ in range(500):
        compiled(*given)
    one_result = 4 * (16 * 8 * 10 * 11 + 16 * 12 * 5 * 6)
    assert resident_bytes() - before < 20 * one_result


def test_activations_may_lie_on_large_pages() -> None:
    arena = allocate(3 << 20)
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())[1:]:
        begin, end = (int(edge, 16) for edge in mapping.split(maxsplit=1)[0].split("-"))
        if begin <= arena.ctypes.data < end:
            flags = re.findall(r"VmFlags: (.*)", mapping)[0].split()
            assert "hg" in flags  # advised
            assert "sh" not in flags  # private: shared memory gets none
            return
    raise AssertionError("the arena is in no mapping")


def test_layers_tell_what_became_of_the_model(compiled: sparsegen.CompiledModel) -> None:
    layers = {layer.name: layer for layer in compiled.layers}
    first = layers["first"]
    assert first.weight_shape == (8, 3, 3, 3)
    assert first.input_shapes == ((16, 3, 10, 11),)
    assert first.output_shape == (16, 8, 10, 11)
    assert first.density == 1.0
    assert first.kernel == "panels"
    assert first.schedule["rows"] >= 1
    assert compiled.threads == 2
    assert 0 < compiled.live_bytes <= compiled.peak_bytes


def test_run_layer_repeats_one_layer(compiled: sparsegen.CompiledModel) -> None:
    before = compiled(*inputs(16))["half"]
    compiled.run_layer("down")
    torch.testing.assert_close(compiled(*inputs(16))["half"], before, rtol=0, atol=0)
    for name in ("third", "image", "output 0"):  # inputs and outputs are no layers
        with pytest.raises(SparsegenError, match=f"no layer '{name}'; there are first, second"):
            compiled.run_layer(name)


def test_wrong_inputs_are_refused(compiled: sparsegen.CompiledModel) -> None:
    image, scale = inputs(16)
    cases = {
        r"takes 2 inputs of shape .*, 1 were given": (image,),
        r"input 0 has shape \(16, 3, 10, 10\).*compiled for \(16, 3, 10, 11\)": (image[..., :10], scale),
        r"input 0 has shape \(8, 3, 10, 11\).*batches=": (image[:8], scale),
        r"input 1 has dtype torch.float64.*take torch.float32": (image, scale.double()),
        r"input 0 is on meta.*call .cpu\(\)": (image.to("meta"), scale),
        r"input 1 is a ndarray; give a torch.Tensor": (image, scale.numpy()),
    }
    for message, arguments in cases.items():
        with pytest.raises(SparsegenError, match=message):
            compiled(*arguments)


def test_more_threads_than_cores_warn_and_none_is_refused(network: nn.Module) -> None:
    with pytest.warns(UserWarning, match="512 threads on"):
        model = sparsegen.compile(network, inputs(1), threads=512)
    torch.testing.assert_close(model(*inputs(1))["half"], network(*inputs(1))["half"], rtol=1e-4, atol=1e-5)
    with pytest.raises(SparsegenError, match="threads is 0: give at least 1"):
        sparsegen.compile(network, inputs(1), threads=0)
