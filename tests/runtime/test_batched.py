"""One compiled model for several batches: any number of rows, one copy of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.errors import InputError, ModelError, OptionError
from sparsegen.runtime.check import check_program
from tests.runtime.artefact.networks import Forms, Structured, example


@pytest.fixture(scope="module")
def batched() -> sparsegen.BatchedModel:
    return sparsegen.compile(
        Forms().eval(), (example(2),), batches=[1, 4], threads=1, target="haswell", database=None
    )


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9])
def test_any_number_of_rows(batched: sparsegen.BatchedModel, rows: int) -> None:
    x = example(rows)
    with torch.no_grad():
        torch.testing.assert_close(batched(x), Forms().eval()(x), rtol=1e-4, atol=1e-5)


def test_weights_are_there_once(batched: sparsegen.BatchedModel) -> None:
    one, four = (model.program for model in batched.models)
    assert one.weights is four.weights
    assert one.arrays == four.arrays
    alone = sparsegen.compile(Forms().eval(), (example(),), threads=1, target="haswell", database=None)
    assert alone.program.weights.nbytes <= one.weights.nbytes < 2 * alone.program.weights.nbytes
    for program in (one, four):
        check_program(program)
    assert batched.compile_seconds > 0
    assert batched.threads == 1
    assert batched.layers == batched.models[0].layers


def test_it_is_saved_as_one_file(batched: sparsegen.BatchedModel, tmp_path: Path) -> None:
    saved = batched.save(tmp_path / "file")
    assert [each.batch for each in saved.variants] == [1, 4]
    x = example(4)
    assert torch.equal(sparsegen.load(tmp_path / "file")(x), batched(x))


def test_inputs_that_do_not_fit(batched: sparsegen.BatchedModel) -> None:
    for given, message in [
        ((), "takes 1 input of shape"),
        ((torch.zeros(3, 16, 28, 29),), "has shape"),
        ((example(3).double(),), "has dtype torch.float64"),
        ((example(3).numpy(),), "give a torch.Tensor"),
        ((torch.zeros(0, 16, 28, 28),), "has shape"),
        ((3,), "is a int"),
    ]:
        with pytest.raises(InputError, match=message):
            batched(*given)


def test_structures_and_what_is_known() -> None:
    model = sparsegen.compile(
        Structured().eval(),
        (torch.ones(3, 6),),
        {"others": [torch.ones(3, 4)], "scale": 3.0},
        batches=[2, 5],
        threads=1,
        target="haswell",
    )
    x, other = torch.randn(3, 6), torch.randn(3, 4)
    result: Any = model(x, others=[other], scale=3.0)
    with torch.no_grad():
        expected = Structured().eval()(x, others=[other], scale=3.0)
    torch.testing.assert_close(result["sum"], expected["sum"], rtol=1e-4, atol=1e-5)
    assert torch.equal(result["known"][0], expected["known"][0])
    assert result["known"][1:4] == (None, 3, float("inf"))


def test_results_without_rows() -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x).mean(0)

    model = sparsegen.compile(
        Mean().eval(), (torch.ones(2, 32),), batches=[2, 4], threads=1, target="haswell"
    )
    assert model(torch.ones(4, 32)).shape == (32,)
    with pytest.raises(InputError, match="give 2 or 4 rows"):
        model(torch.ones(3, 32))


def test_programs_need_a_dynamic_batch() -> None:
    network, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.randn(2, 4)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
    model = sparsegen.compile(program, (x,), batches=[1, 3], threads=1, target="haswell")
    with torch.no_grad():
        torch.testing.assert_close(model(x), network(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match="or with a dynamic batch, and compile with batches="):
        sparsegen.compile(torch.export.export(network, (x,)), (x,), batches=[1, 3], threads=1)


@pytest.mark.parametrize("batches", [[], [0], [1, 1], "14", [1.5], 4])
def test_batches_that_are_none(batches: Any) -> None:
    with pytest.raises(OptionError, match="batch"):
        sparsegen.compile(Forms().eval(), (example(),), batches=batches)


def test_models_without_rows_have_no_batches() -> None:
    class Number(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x)

    with pytest.raises(ModelError, match="has no rows"):
        sparsegen.compile(Number().eval(), (torch.tensor(1.0),), batches=[1, 2])


def test_inputs_of_different_numbers_of_rows(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + y)

    inputs = (torch.ones(1, 3), torch.ones(1, 3))
    model = sparsegen.compile(Sum().eval(), inputs, batches=[1, 4], threads=1, target="haswell")
    model.save(tmp_path / "file")
    for each in (model, sparsegen.load(tmp_path / "file")):
        with pytest.raises(InputError, match=r"differ in their numbers of rows: .* has 3, .* has 2; give as"):
            each(torch.ones(3, 3), torch.ones(2, 3))
