"""Every kind of tensor that torch has: right values, or an error that says what to give instead."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import sparsegen
from sparsegen.errors import InputError, ModelError
from tests.runtime.networks import SHAPE, check, compiled_network, example, small_network


class Named(torch.Tensor):
    """A subclass that only has a name of its own."""


@pytest.fixture(scope="module")
def model() -> sparsegen.CompiledModel:
    return compiled_network()


def from_second_byte() -> torch.Tensor:
    numbers = example().numpy().tobytes()
    return torch.frombuffer(bytearray(b"--" + numbers), dtype=torch.float32, offset=2).view(SHAPE)


def made_in_inference_mode() -> torch.Tensor:
    with torch.inference_mode():
        return example() + 0.0


EXOTIC = {
    "imaginary part of a conjugate": lambda: torch.complex(example(1), example(2)).conj().imag,
    "contiguous negative view": lambda: torch._neg_view(example()),
    "zeros without memory": lambda: torch._efficientzerotensor(SHAPE),
    "expanded": lambda: example()[:1].expand(SHAPE),
    "transposed": lambda: example().transpose(2, 3),
    "channels_last": lambda: example().to(memory_format=torch.channels_last),
    "from the second float on": lambda: torch.cat([torch.ones(1), example().flatten()])[1:].view(SHAPE),
    "from the third byte on": from_second_byte,
    "with a gradient": lambda: example().requires_grad_(),
    "parameter": lambda: nn.Parameter(example()),
    "subclass": lambda: example().as_subclass(Named),
    "inference tensor": made_in_inference_mode,
}


@pytest.mark.parametrize("kind", EXOTIC)
def test_exotic_inputs_have_the_values_that_torch_sees(model: sparsegen.CompiledModel, kind: str) -> None:
    x = EXOTIC[kind]()
    plain = torch.tensor(x.detach().clone().tolist(), dtype=torch.float32)
    check(model, x, plain)
    assert type(model(x)) is torch.Tensor
    assert not model(x).requires_grad


@pytest.mark.parametrize("kind", EXOTIC)
def test_exotic_example_inputs_compile(kind: str) -> None:
    compiled = sparsegen.compile(
        small_network(), (EXOTIC[kind](),), target="haswell", database=None, threads=1
    )
    check(compiled, example())


REFUSED: dict[str, tuple[Any, str]] = {
    "integers": (torch.zeros(SHAPE, dtype=torch.uint8), "dtype torch.uint8; .*torch.float32: give .float()"),
    "double": (example().double(), "dtype torch.float64; .*give .float()"),
    "half": (example().half(), "dtype torch.float16; .*give .float()"),
    "complex": (torch.complex(example(), example()), "dtype torch.complex64; .*give .real"),
    "quantised": (torch.quantize_per_tensor(example(), 0.1, 0, torch.qint8), "give .dequantize()"),
    "sparse": (example().to_sparse(), "input 0 is a sparse_coo tensor; .*call .to_dense()"),
    "mkldnn": (example().to_mkldnn(), "input 0 is a mkldnn tensor; .*call .to_dense()"),
    "nested": (torch.nested.nested_tensor(list(example())), "input 0 is a nested tensor"),
    "fake": (FakeTensorMode().from_tensor(example()), "FakeTensor.*give a plain torch.Tensor"),
    "meta": (example().to("meta"), "is on meta.*call .cpu()"),
    "array": (example().numpy(), "is a ndarray; give a torch.Tensor: torch.from_numpy(...)"),
    "list": ([example()], "input 0 is a list; give a torch.Tensor"),
    "no images": (example()[:0], "shape (0, 3, 8, 8); the model was compiled for (2, 3, 8, 8)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_holds_no_float32_numbers_is_refused(model: sparsegen.CompiledModel, kind: str) -> None:
    given, message = REFUSED[kind]
    pattern = ".*".join(map(re.escape, message.split(".*")))
    with pytest.raises(InputError, match=pattern):
        model(given)


def test_inputs_inside_of_torchs_transforms_are_refused(model: sparsegen.CompiledModel) -> None:
    with pytest.raises(InputError, match=r"no memory of its own, as inside torch\.func"):
        torch.vmap(model)(torch.stack([example(1), example(2)]))
    with pytest.raises(InputError, match="no memory of its own"):
        torch.func.grad(lambda x: model(x).sum())(example())
    x = example()
    with FakeTensorMode(), pytest.raises(InputError, match=r"no memory of its own.*FakeTensorMode"):
        model(x)


def test_a_storage_that_was_given_back_is_no_crash(model: sparsegen.CompiledModel) -> None:
    x = example()
    x.untyped_storage().resize_(0)
    with pytest.raises(sparsegen.SparsegenError):
        model(x)


def test_the_wrong_number_of_inputs_and_names_are_refused(model: sparsegen.CompiledModel) -> None:
    with pytest.raises(InputError, match=r"takes 1 input of shape \(2, 3, 8, 8\), 0 were given"):
        model()
    with pytest.raises(InputError, match="takes 'input' by position; there is no 'x' among its inputs"):
        model(x=example())
    assert torch.equal(model(input=example()), model(example()))


def test_results_of_inference_mode_serve_as_inputs_and_are_read_afterwards(
    model: sparsegen.CompiledModel,
) -> None:
    with torch.inference_mode():
        x = example() + 0.0
        result = model(x)
        inside = result.clone()
    np.testing.assert_array_equal((result + 0.0).numpy(), inside.numpy())
    torch.testing.assert_close(model(x), inside, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            example()[:0],
            r"example input 0 has the shape \(0, 3, 8, 8\), without elements",
        ),
        (
            example().to_sparse(),
            "is torch.float32 on cpu, torch.sparse_coo; .* call .to_dense",
        ),
        (
            torch.nested.nested_tensor(list(example())),
            ", nested; .* call torch.nested",
        ),
    ],
)
def test_example_inputs_that_cannot_be_compiled_for(given: torch.Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        sparsegen.compile(small_network(), (given,))
