"""Models that cannot be compiled: the message names the place, what was found and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsegen.errors import SparsegenError, UnsupportedOperatorError
from sparsegen.frontend import from_torch
from sparsegen.frontend.operators import supported_operators
from tests.frontend.checking import Function, images


def refused(model: Any, *inputs: Any) -> str:
    """The message that `model` is refused with."""
    with pytest.raises(SparsegenError) as caught:
        from_torch(model, inputs)
    return str(caught.value)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()

    def forward(self, value: Tensor) -> Tensor:
        return self.drop(self.norm(self.conv(value)))


def test_training_mode() -> None:
    assert refused(Block(), images()) == "the model itself is in training mode: call model.eval()"
    model = nn.Sequential(Block(), Block()).eval()
    model[1].norm.train()
    assert refused(model, images()) == "module '1.norm' is in training mode: call model.eval()"


@pytest.mark.parametrize("decomposed", [False, True])
def test_program_exported_in_training_mode(decomposed: bool) -> None:
    program = torch.export.export(nn.Sequential(Block()), (images(),))
    if decomposed:
        program = program.run_decompositions({})
    message = refused(program, images())
    assert "batch_norm" in message
    assert "module '0.norm'" in message
    assert "call model.eval() before torch.export" in message


def test_program_with_dropout_in_training_mode() -> None:
    program = torch.export.export(nn.Sequential(nn.ReLU(), nn.Dropout()), (images(),))
    assert "aten.dropout.default in module '1' is in training mode" in refused(program, images())


def test_batch_norm_without_running_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert "batch norm needs running statistics" in refused(model, images())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("owner", "name"), [("conv", "weight"), ("norm", "running_var")])
def test_weights_that_are_not_finite(owner: str, name: str, value: float) -> None:
    model = nn.Sequential(Block()).eval()
    with torch.no_grad():
        model.state_dict()[f"0.{owner}.{name}"].view(-1)[1] = value
    message = refused(model, images())
    assert message.startswith(f"'{name}' of module '0.{owner}' has NaN or infinite values")


def test_weights_of_another_type() -> None:
    message = refused(Block().eval().to(torch.bfloat16), images())
    assert message == "'weight' of module 'conv' is torch.bfloat16; call model.float()"
    assert "is on meta; call model.cpu()" in refused(Block().eval().to("meta"), images())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.ones(2, dtype=torch.float64), "torch.float64 on cpu"),
        (torch.ones(2, dtype=torch.int64), "torch.int64 on cpu"),
        (torch.ones(2, device="meta"), "torch.float32 on meta"),
        ([1.0], "list"),
    ],
)
def test_example_inputs_of_another_type(value: Any, found: str) -> None:
    expected = f"example input 1 is {found}; a torch.float32 tensor on cpu is supported"
    assert refused(Function(torch.add), torch.ones(2), value) == expected


def test_example_inputs_that_are_no_tuple() -> None:
    with pytest.raises(SparsegenError, match=re.escape("are a Tensor; pass a tuple of tensors: (x,)")):
        from_torch(nn.ReLU().eval(), images())


def test_model_of_another_type() -> None:
    assert "the model is a builtin_function_or_method; pass a torch.nn.Module" in refused(
        torch.relu, images()
    )


def test_dynamic_batch() -> None:
    program = torch.export.export(
        nn.ReLU().eval(), (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    message = refused(program, images())
    assert message.startswith("input 'input' has the shape (s")
    assert "the batch (or another size) is dynamic" in message
    assert "compile once per batch size" in message


def test_shape_that_depends_on_values() -> None:
    message = refused(Function(lambda x: x[x > 0]), images())
    assert "gives the shape (u0)" in message
    assert "compile once per batch size" in message


def test_program_for_other_shapes() -> None:
    program = torch.export.export(nn.ReLU().eval(), (images(2, 3),))
    message = refused(program, images(4, 3))
    assert "[(4, 3)], the program was exported for [(2, 3)]" in message
    assert "export once per batch size" in message


def test_program_for_integers() -> None:
    program = torch.export.export(nn.ReLU().eval(), (torch.ones(2, dtype=torch.int64),))
    assert refused(program, images(2)) == (
        "input 'input' of the program is torch.int64; float32 tensors are supported"
    )


def test_model_that_cannot_be_traced() -> None:
    message = refused(nn.Conv2d(3, 4, 1).eval(), images(2, 5, 4, 4))
    assert message.startswith("torch.export cannot trace Conv2d on inputs of shapes (2, 5, 4, 4): ")
    assert "expected input" in message
    branching = Function(lambda x: x.relu() if x.sum() > 0 else x)
    assert "control flow must not depend on values" in refused(branching, images())


def test_input_overwritten() -> None:
    message = refused(nn.ReLU(inplace=True).eval(), images())
    assert message.startswith("the model overwrites its input 'input' in place")


def test_buffer_written() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, value: Tensor) -> Tensor:
            self.calls += 1
            return value + self.calls

    assert "writes to its buffer 'calls' in every call" in refused(Counter().eval(), images())


UNSUPPORTED: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "mish": (F.mish, "aten.mish.default", "no such operator"),
    "log_softmax": (lambda x: F.log_softmax(x, 1), "aten.log_softmax.int", "no such operator"),
    "reflection": (lambda x: F.pad(x, (1, 1, 1, 1), "reflect"), "aten.pad.default", "its mode is 'reflect'"),
    "transposed": (
        lambda x: torch.convolution(x, torch.ones(4, 4, 1, 1), None, [1], [0], [1], True, [0], 1),
        "aten.convolution.default",
        "it is transposed",
    ),
    "unbatched": (lambda x: F.conv2d(x[0], torch.ones(4, 4, 1, 1)), "aten.conv2d.default", "4 dimensions"),
    "computed weight": (lambda x: F.conv2d(x, x[:, :, :1, :1]), "aten.conv2d.default", "its weight is"),
    "causal attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        "aten.scaled_dot_product_attention.default",
        "it has a causal mask; attention of every query to every key, without dropout, is supported",
    ),
    "masked attention with dropout": (
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(9, 9), dropout_p=0.25),
        "aten.scaled_dot_product_attention.default",
        "it has an attention mask and dropout of 0.25; attention",
    ),
    "grouped attention": (
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], enable_gqa=True),
        "aten.scaled_dot_product_attention.default",
        "it has groups of heads that share a key (enable_gqa)",
    ),
    "indices": (lambda x: F.max_pool2d(x, 2, return_indices=True), "aten.max_pool2d_with", "its result 1"),
    "cube": (lambda x: x**3, "aten.pow.Tensor_Scalar", "its exponent is 3"),
    "random": (lambda x: x + torch.rand(8), "aten.rand.default", "no such operator"),
    "comparison": (lambda x: torch.where(x > 0, x, 0.1), "aten.gt.Scalar", "no such operator"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_operator(name: str) -> None:
    function, operator, reason = UNSUPPORTED[name]
    with pytest.raises(UnsupportedOperatorError) as caught:
        from_torch(nn.Sequential(nn.Identity(), Function(function)).eval(), (images(),))
    message = str(caught.value)
    assert message.startswith(f"operator {operator}")
    assert "in module '1' is not supported: " in message
    assert reason in message
    assert message.endswith(f"Supported operators: {', '.join(supported_operators())}")


def test_another_precision_inside() -> None:
    message = refused(nn.Sequential(Function(lambda x: x.double().float())).eval(), images())
    assert message == (
        "operator aten._to_copy.default in module '0': it gives torch.float64; sparsegen computes in float32"
    )


def test_control_flow_operator() -> None:
    def branch(value: Tensor) -> Any:
        return torch.cond(value.sum() > 0, torch.relu, torch.neg, (value,))

    with pytest.raises(UnsupportedOperatorError, match="operator"):
        from_torch(Function(branch), (images(),))
