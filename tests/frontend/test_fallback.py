"""Operators without a kernel: torch computes them, one warning names them, and what it cannot is refused."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsegen.errors import ModelError, OptionError, UnsupportedOperatorError
from sparsegen.frontend import from_torch
from sparsegen.frontend.externs import torch_fault
from sparsegen.graph import Extern, LayerGraph, Read, Result
from tests.frontend.checking import Function, check, images

pytestmark = pytest.mark.filterwarnings("ignore:torch itself computes")


def externs(graph: LayerGraph) -> list[str]:
    """Names of the operators that torch computes."""
    return [str(layer.core.overload) for layer in graph.layers if isinstance(layer.core, Extern)]


FALLEN: dict[str, tuple[Callable[[Tensor], Any], list[str]]] = {
    "no translator": (lambda x: x.cumsum(1), ["aten.cumsum.default"]),
    "another type": (lambda x: x.double().float(), ["aten._to_copy.default", "aten._to_copy.default"]),
    "arguments that a kernel lacks": (lambda x: F.pad(x, (-1, 1, 0, 0), "reflect"), ["aten.pad.default"]),
    "a result that a kernel lacks": (
        lambda x: F.max_pool2d(x, 2, return_indices=True),
        ["aten.max_pool2d_with_indices.default"],
    ),
    "a computed weight": (lambda x: F.conv2d(x, x[:, :, :1, :1]), ["aten.conv2d.default"]),
    "a type that it reads": (lambda x: x.argmax(1).float(), ["aten.argmax.default", "aten._to_copy.default"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FALLEN)
def test_what_no_kernel_serves_is_torchs(name: str) -> None:
    function, operators = FALLEN[name]
    assert externs(check(Function(function), images())) == operators


def test_a_refused_call_leaves_nothing_behind() -> None:
    # The convolution's translator has added the padding by the time that it sees the computed weight.
    graph = from_torch(
        Function(lambda x: torch.conv2d(x, x[:, :, :3, :3], None, 1, 1).relu()), (images(2, 2, 9, 8),)
    )
    assert [type(layer.core).__name__ for layer in graph.layers] == ["Slice", "Slice", "Extern", "Identity"]
    assert not graph.constants


def test_results_of_operators_with_several() -> None:
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = x.topk(2, dim=1)
        return values.relu(), indices

    graph = from_torch(Function(both), (images(),))
    (topk,) = (layer for layer in graph.layers if isinstance(layer.core, Extern))
    results = [layer for layer in graph.layers if isinstance(layer.core, Result)]
    assert topk.dtype == "tuple"
    assert [(layer.core.index, layer.dtype, layer.shape) for layer in results] == [
        (0, "float32", (2, 2, 9, 8)),
        (1, "int64", (2, 2, 9, 8)),
    ]


def test_arguments_are_a_template() -> None:
    table = torch.arange(8.0).view(4, 2)
    graph = from_torch(Function(lambda ids, table: F.embedding(ids, table), table), (torch.tensor([[1, 2]]),))
    (layer,) = graph.layers
    assert isinstance(layer.core, Extern)
    weight, place, *_ = layer.core.arguments
    assert torch.equal(weight, table)
    assert weight.data_ptr() != table.data_ptr()  # the graph's own
    assert place == Read(0)
    assert graph.input_dtypes == {"inputs_0": "int64"}


def test_what_reads_nothing_but_constants_is_evaluated() -> None:
    def masked(x: Tensor, mask: Tensor) -> Tensor:
        positions = torch.arange(8).unsqueeze(0).expand(9, 8)
        return x + torch.where(mask & (positions > 2), 0.0, -1e9)

    graph = from_torch(Function(masked, torch.ones(9, 8, dtype=torch.bool).tril()), (images(),))
    assert externs(graph) == []
    assert len(graph.constants) == 1


def test_an_expansion_that_kernels_leave_out_is_made_for_torch() -> None:
    # All readers broadcast, so a kernel would need no expanded tensor; one of them is torch's.
    graph = from_torch(
        Function(lambda x, y: torch.add(x.expand(3, 4), y.long())), (images(1, 4), torch.ones(4))
    )
    assert externs(graph) == ["aten._to_copy.default", "aten.expand.default", "aten.add.Tensor"]


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def test_one_warning_names_operators_calls_and_modules(caught: list[warnings.WarningMessage]) -> None:
    cubes = [Function(lambda x: x.cumsum(1)) for _ in range(5)]
    from_torch(
        nn.Sequential(*cubes, nn.Conv2d(4, 4, 1), Function(lambda x: x.cumprod(1))).eval(), (images(),)
    )
    (message,) = (str(each.message) for each in caught if "torch itself" in str(each.message))
    assert "aten.cumsum.default (5 calls, in modules '0', '1', '2' and 2 more)" in message
    assert "aten.cumprod.default (1 call, in module '6')" in message
    assert 'fallback="error" refuses' in message


def test_the_warning_is_of_the_users_line(caught: list[warnings.WarningMessage]) -> None:
    import sparsegen

    model = Function(lambda x: x.cumsum(1))
    sparsegen.compile(model, (images(),), target="haswell")
    line = sys._getframe().f_lineno - 1
    found = [(each.filename, each.lineno) for each in caught if "torch itself" in str(each.message)]
    assert found == [(__file__, line)]


def test_no_warning_where_nothing_falls_back(caught: list[warnings.WarningMessage]) -> None:
    from_torch(nn.ReLU().eval(), (images(),))
    assert not caught


def test_fallback_error_refuses() -> None:
    with pytest.raises(
        UnsupportedOperatorError, match=r"operator aten\.cumsum\.default in the model itself is"
    ):
        from_torch(Function(lambda x: x.cumsum(1)), (images(),), fallback="error")


def test_another_fallback() -> None:
    import sparsegen

    with pytest.raises(OptionError, match="fallback is 'eager': choose of torch, error"):
        sparsegen.compile(nn.ReLU().eval(), (images(),), fallback="eager")  # type: ignore[arg-type]


def refused(function: Callable[..., Any], *inputs: Tensor) -> str:
    """The message that a model with `function` as its module '1' is refused with, torch allowed."""
    with pytest.raises(ModelError) as error:
        from_torch(nn.Sequential(nn.Identity(), Function(function)).eval(), inputs or (images(),))
    return str(error.value)


def custom_operator(device: str | None) -> Callable[[Tensor], Tensor]:
    """An operator of a library of one's own, with a kernel for a device."""

    @torch.library.custom_op(f"sparsegen_tests::doubled_{device}", mutates_args=(), device_types=device)
    def doubled(x: Tensor) -> Tensor:
        return x * 2

    doubled.register_fake(torch.empty_like)
    return doubled


def complex_sum(x: Tensor) -> Tensor:
    return torch.view_as_real(torch.view_as_complex(x.unflatten(3, (4, 2))) * 2)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a shape that depends on values": (
        lambda x: x.nonzero(),
        "operator aten.nonzero.default in module '1' gives the shape (u0, 4), which depends on values",
    ),
    "a selection by a mask": (
        lambda x: torch.masked_select(x, x > 0),
        "operator aten.masked_select.default in module '1' gives the shape (u0), which depends on values",
    ),
    "control flow on values": (
        lambda x: torch.cond(x.sum() > 0, torch.relu, torch.neg, (x,)),
        "operator cond in module '1' is not supported: its control flow depends on values: compile every",
    ),
    "random numbers": (
        lambda x: x + torch.rand(8),
        "operator aten.rand.default in module '1' is not supported: it draws random numbers: leave it out",
    ),
    "random numbers like a tensor's": (torch.randn_like, "aten.randn_like.default in module '1' is not supp"),
    "random choices": (torch.bernoulli, "operator aten.bernoulli.default in module '1' is not supported: it"),
    "dropout that is always on": (
        lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
        "aten.scaled_dot_product_attention.default in module '1' is not supported: it draws random numbers",
    ),
    "complex numbers": (
        complex_sum,
        "aten.view_as_complex.default in module '1' is not supported: it computes with torch.complex64",
    ),
    "an operator for another device": (
        custom_operator("cuda"),
        "operator sparsegen_tests.doubled_cuda.default in module '1' is not supported: it has no kernel for "
        "the CPU: register one with torch.library",
    ),
    "memory in another order": (
        lambda x: x.transpose(2, 3).as_strided((2, 3), (3, 1)),
        "aten.as_strided.default in module '1' is not supported: it reads memory in an order of its own",
    ),
    "nothing returned": (lambda x: (), "the model returns nothing: let its forward return the tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_cannot_compute_in_between_is_refused(name: str) -> None:
    function, message = REFUSED[name]
    assert message in refused(function)


def test_a_branch_on_values() -> None:
    message = refused(lambda x: x.relu() if x.sum() > 0 else x)
    assert "in module '1' (test_fallback.py, line " in message
    assert "Control flow must not depend on values" in message


def test_an_input_that_is_written_to() -> None:
    assert "overwrites its input 'input' in place" in refused(lambda x: x.mul_(2))


def test_an_operator_of_ones_own() -> None:
    graph = from_torch(Function(custom_operator(None)), (images(),))
    assert externs(graph) == ["sparsegen_tests.doubled_None.default"]


def test_deciding_changes_nothing() -> None:
    program = torch.export.export(Function(lambda x: x.cumsum(1) + torch.rand(8)), (images(),))
    before = str(program.graph)
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert [torch_fault(node) is None for node in calls] == [True, False, True]
    assert str(program.graph) == before
