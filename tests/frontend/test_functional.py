"""Programs without in-place operators: which are rewritten, which traced anew; both are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.errors import ModelError
from sparsegen.frontend import from_torch, functional
from tests.frontend.checking import Function, check, describe, images, randomised

Model = Callable[..., Any]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The programs that torch traces anew."""
    programs: list[object] = []
    anew = functional.trace_anew

    def trace_anew(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
        programs.append(program)
        return anew(program)

    monkeypatch.setattr(functional, "trace_anew", trace_anew)
    return programs


def in_place_chain(x: Tensor) -> Tensor:
    y = x + 1
    z = y * 2
    y.relu_()
    y.add_(z)
    return y * y.sigmoid_() + z


def read_before_and_after(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x - 0.5
    before = y * 3
    F.relu6(y, inplace=True)
    return before, y


def both_names_written(x: Tensor) -> Tensor:
    y = x * 2
    z = y.relu_()
    y.mul_(3)
    return z + y


def dropout_is_another_name(x: Tensor) -> Tensor:
    y = x * 2
    z = F.dropout(y, training=False)
    y.relu_()
    return z + 1


REWRITTEN = {
    "a chain in place": in_place_chain,
    "read before and after": read_before_and_after,
    "two names of one tensor": both_names_written,
    "hardtanh": lambda x: F.hardtanh(x * 3, -0.5, 0.7, inplace=True),
    "leaky": lambda x: F.leaky_relu(x * 3, 0.2, inplace=True),
    "dropout": lambda x: F.dropout(x * 3, training=False) + 1,
    "another name": dropout_is_another_name,
    "dropout in place": lambda x: F.dropout((x * 3).relu_(), training=False, inplace=True).relu_(),
    "arithmetic in place": lambda x: (x * 3).sub_(1).div_(2).clamp_(-0.5, 0.5).abs_().exp_().sqrt_().neg_(),
    "activations in place": lambda x: F.elu(F.threshold(x * 3, 0.25, -1.0, inplace=True), inplace=True),
    "shrinks": lambda x: F.softshrink(x, 0.25) + F.hardshrink(x, 0.125),
    "constants": lambda x: x.masked_fill(torch.arange(8).add(1) > torch.full((9, 1), 4), 2.0),
    "a constant in place": lambda x: x * 2 + torch.tensor([2.0]),
    "a cast to what it is": lambda x: (x * 2).to(x.dtype).detach() + 1,
    "parts": lambda x: torch.cat([*x.chunk(3, 1), x.narrow(1, -2, 2), x.select(1, 2)[:, None]], 1),
    "normalised": lambda x: x - x.mean((2, 3), keepdim=True).expand_as(x),
    "copied reshape": lambda x: (x * 2).transpose(1, 2).reshape(2, -1) + 1,
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_programs_that_are_plainly_the_same_are_rewritten(name: str, traced: list[object]) -> None:
    check(Function(REWRITTEN[name]), images())
    assert not traced


def test_batch_norms_are_rewritten(traced: list[object]) -> None:
    blocks = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten())
    graph = check(randomised(blocks), images(), tolerance=1e-5)
    assert describe(graph) == ["Conv2d relu", "Reshape"]
    assert not traced


def view_of_what_is_written(x: Tensor) -> Tensor:
    y = x * 2
    rows = y.view(2, -1)
    y.relu_()
    return rows + 1


def written_through_a_view(x: Tensor) -> Tensor:
    y = x * 2
    y.transpose(1, 2).relu_()
    return y + 1


TRACED = {
    "a view of what is written": view_of_what_is_written,
    "written through a view": written_through_a_view,
    "an operator that is not known": lambda x: x.movedim(1, -1).relu(),
    "a copying cast": lambda x: (x * 2).to(x.dtype, copy=True).add_(1),
}


@pytest.mark.parametrize("name", TRACED)
def test_programs_that_may_differ_are_traced_anew(name: str, traced: list[object]) -> None:
    check(Function(TRACED[name]), images())
    assert len(traced) == 1


def test_a_written_input_is_refused() -> None:
    with pytest.raises(ModelError, match="overwrites its input"):
        from_torch(Function(lambda x: x.relu_()), (images(),))


def test_a_program_of_the_caller_stays_as_it_is(traced: list[object]) -> None:
    module = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)).eval()
    program = torch.export.export(module, (images(),))
    before = program.graph_module.code
    from_torch(program, (images(),))
    assert program.graph_module.code == before


COMPOSED: dict[str, Callable[[Tensor], Any]] = {
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "einsum of a constant": lambda x: torch.einsum("nctv,vw->nctw", x, torch.ones(8, 5, dtype=x.dtype)),
    "stacks": lambda x: (torch.hstack([x, x]), torch.vstack([x, x]), torch.dstack([x[:, 0], x[:, 1]])),
    "other names": lambda x: torch.clip(torch.true_divide(torch.negative(torch.absolute(x)), 3), -1, 1),
    "similarity": lambda x: F.cosine_similarity(x, x.flip(1), dim=1),
    "distance": lambda x: F.pairwise_distance(x, x * 2),
    "statistics": lambda x: torch.std_mean(x, 1),
    "products": lambda x: (torch.inner(x, x), torch.tensordot(x, x, dims=([1, 2], [1, 2]))),
    "special names": lambda x: torch.special.log_softmax(torch.special.expit(x), 1),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_what_is_made_of_operators_that_have_kernels_is_ours(name: str) -> None:
    graph = check(Function(COMPOSED[name]), images(), tolerance=1e-5)
    assert not any(layer.startswith("Extern") for layer in describe(graph))


@pytest.mark.parametrize("cell", [nn.LSTMCell(8, 3), nn.GRUCell(8, 3), nn.RNNCell(8, 3)], ids=str)
def test_recurrent_cells_are_ours(cell: nn.Module) -> None:
    graph = check(cell.eval(), images(4, 8))
    assert sum(layer.startswith("Linear") for layer in describe(graph)) >= 1
    assert not any(layer.startswith("Extern") for layer in describe(graph))
