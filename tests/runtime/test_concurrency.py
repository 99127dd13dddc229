"""Threads that compile at once, and call at once, one model too."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.errors import InputError
from tests.runtime.networks import check, compiled_network, example, small_network


def test_four_threads_compile_at_once() -> None:
    start = threading.Barrier(4)
    networks = [small_network(width) for width in (5, 8, 13, 16)]

    def compile_and_call(network: nn.Module) -> torch.Tensor:
        start.wait(60)
        model = sparsegen.compile(network, (example(),), threads=1, target="haswell", database=None)
        result: torch.Tensor = model(example())
        return result

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(compile_and_call, networks))
    for network, result in zip(networks, results, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(result, network(example()), rtol=1e-4, atol=1e-5)


def test_two_models_are_called_at_once_on_threads_of_their_own() -> None:
    one, two = compiled_network(threads=1), compiled_network(threads=2)

    def call_often(model: sparsegen.CompiledModel) -> None:
        for seed in range(50):
            check(model, example(seed))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(call_often, model) for model in (one, two, one, two)]:
            done.result()


def test_calls_of_one_model_run_at_once() -> None:
    @torch.library.custom_op("sparsegen_tests::meeting", mutates_args=())
    def meeting(x: torch.Tensor) -> torch.Tensor:
        together.wait(60)
        return x.clone()

    meeting.register_fake(torch.empty_like)

    class Meeting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return meeting(x.sin()).exp().reshape(x.shape[0], -1)

    with pytest.warns(UserWarning, match="torch itself"):
        model = sparsegen.compile(Meeting().eval(), (example(),), threads=1, target="haswell", database=None)
    together = threading.Barrier(3)
    inputs = [example(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(model, inputs))
    for x, result in zip(inputs, results, strict=True):
        torch.testing.assert_close(result, x.sin().exp().reshape(2, -1))


def test_a_call_that_fails_gives_its_memory_back() -> None:
    @torch.library.custom_op("sparsegen_tests::no_threes", mutates_args=())
    def no_threes(x: torch.Tensor) -> torch.Tensor:
        if x[0, 0] == 3:
            raise ValueError("a three")
        return x.clone()

    no_threes.register_fake(torch.empty_like)

    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return no_threes(x.neg().neg()).exp()

    with pytest.warns(UserWarning, match="torch itself"):
        model = sparsegen.compile(Picky().eval(), (torch.ones(2, 3),), threads=1, database=None)
    for _ in range(3):
        with pytest.raises(InputError, match="refuses the values that it gets: a three"):
            model(torch.full((2, 3), 3.0))
    torch.testing.assert_close(model(torch.ones(2, 3)), torch.ones(2, 3).exp())
    assert len(model._contexts._free) == 1


def test_calls_under_way_have_contexts_of_their_own() -> None:
    model = compiled_network()
    first, second = model._contexts.take(), model._contexts.take()
    assert first is not second
    for each in (first, second):
        model._contexts.give_back(each)
    check(model, example())
