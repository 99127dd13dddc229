"""Torch's settings of the process or thread change nothing: compiling and calling give float32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch

import sparsegen
from tests.runtime.networks import check, compiled_network, example, small_network


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: default_device("meta"),
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu"),
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_change_nothing(setting: str) -> None:
    with torch.no_grad():
        expected = small_network()(example())
    before = compiled_network()
    with SETTINGS[setting]():
        compiled = compiled_network()
        inside = compiled(example()), before(example())
    for result in (*inside, compiled(example())):
        assert (result.dtype, result.device.type) == (torch.float32, "cpu")
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_was_made_in_inference_mode_compiles() -> None:
    with torch.inference_mode():
        network = small_network.__wrapped__()
    check(sparsegen.compile(network, (example(),), target="haswell", database=None, threads=1), example())
