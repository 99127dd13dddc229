"""Models that cannot be compiled: the message names the place, what was found and what to do."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsegen.errors import ModelError, SparsegenError, UnsupportedOperator, UnsupportedOperatorError
from sparsegen.frontend import from_torch
from tests.frontend.checking import Function, images


def refused(model: Any, *inputs: Any) -> str:
    """The message that `model` is refused with."""
    with pytest.raises(ModelError) as caught:
        from_torch(model, inputs, fallback="error")
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
@pytest.mark.parametrize("owner", ["conv", "linear"])
def test_weights_that_are_not_finite(owner: str, value: float) -> None:
    block = Block()
    block.linear = nn.Linear(8, 8)
    block.drop.register_forward_hook(lambda _, __, result: block.linear(result))
    model = nn.Sequential(block).eval()
    with torch.no_grad():
        model.state_dict()[f"0.{owner}.weight"].view(-1)[1] = value
    message = refused(model, images())
    assert message.startswith(f"'weight' of module '0.{owner}' has NaN or infinite values")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 1), nn.Linear(8, 4), nn.Linear(8, 4, bias=False)])
def test_weights_of_another_type(layer: nn.Module, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), copy.deepcopy(layer))).eval().to(dtype)
    message = refused(model, images())
    assert message in (
        f"'weight' of module '0.1' is {dtype}; call model.float()",
        f"'bias' of module '0.1' is {dtype}; call model.float()",
    )


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 1), nn.Linear(8, 4), nn.BatchNorm2d(4)])
def test_weights_without_data(layer: nn.Module) -> None:
    message = refused(nn.Sequential(nn.ReLU(), copy.deepcopy(layer)).eval().to("meta"), images())
    assert message == "'weight' of module '1' has no data (it is on the meta device): load the weights first"


def test_lazy_modules() -> None:
    message = refused(nn.Sequential(nn.LazyConv2d(4, 1)).eval(), images())
    assert message == "'weight' of module '0' has no shape yet: call the model once, or load its weights"


def test_buffer_of_another_type() -> None:
    message = refused(Function(torch.add, torch.ones(8, dtype=torch.float64)), images())
    assert message == "'constant0' of the model itself is torch.float64; call model.float()"


@pytest.mark.parametrize(
    ("value", "found", "advice"),
    [
        (torch.ones(2, device="meta"), "torch.float32 on meta", "give one with data"),
        (torch.ones(2, dtype=torch.complex64), "torch.complex64 on cpu", "give its .real and .imag"),
        (torch.ones(2).to_mkldnn(), "torch.float32 on cpu, torch._mkldnn", "call .to_dense() on it"),
        (torch.ones(2).to_sparse(), "torch.float32 on cpu, torch.sparse_coo", "call .to_dense() on it"),
        (np.ones(2, np.float32), "ndarray", "call torch.from_numpy(array)"),
        ([np.ones(2)], "ndarray", "call torch.from_numpy(array)"),
        (torch, "module", "give tensors, numbers and None in tuples, lists and dicts"),
    ],
)
def test_example_inputs_of_another_type(value: Any, found: str, advice: str) -> None:
    expected = f"example input 1 is {found}; a dense tensor of real numbers on cpu is supported: {advice}"
    assert refused(Function(torch.add), torch.ones(2), value).startswith(expected)


def test_example_inputs_without_elements() -> None:
    message = refused(nn.ReLU().eval(), images(0, 3))
    assert message.startswith("example input 0 has the shape (0, 3), without elements: give every dimension")


def test_results_without_elements() -> None:
    message = refused(Function(lambda x: x[:, :0].relu()), images(2, 3))
    assert message == "the model returns a tensor of shape (2, 0), without elements: leave it out"


def test_example_inputs_that_are_no_tuple() -> None:
    with pytest.raises(SparsegenError, match=re.escape("are a Tensor; pass a tuple of tensors: (x,)")):
        from_torch(nn.ReLU().eval(), images())


def test_model_of_another_type() -> None:
    assert "the model is a builtin_function_or_method; pass a torch.nn.Module" in refused(
        torch.relu, images()
    )


def test_constants_that_do_not_fit() -> None:
    table, places = torch.ones(4, 8), torch.tensor([0, 4])
    model = nn.Sequential(Function(lambda x, table, places: x + F.embedding(places, table)[0], table, places))
    message = refused(model.eval(), images())
    assert (
        "operator aten.embedding.default in module '0' refuses constants of the model: index out" in message
    )


def test_dynamic_batch() -> None:
    program = torch.export.export(
        nn.ReLU().eval(), (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    message = refused(program, images())
    assert message.startswith("input 'input' has the shape (s")
    assert "the batch (or another size) is dynamic" in message
    assert "batches=[1, 4, 16] (--batches)" in message


def test_shape_that_depends_on_values() -> None:
    message = refused(Function(lambda x: x[x > 0]), images())
    assert "gives the shape (u0)" in message
    assert "shapes must be static" in message


def test_program_for_other_shapes() -> None:
    program = torch.export.export(nn.ReLU().eval(), (images(2, 3),))
    message = refused(program, images(4, 3))
    assert "[(4, 3)], the program was exported for [(2, 3)]" in message
    assert "export it for these, or with a dynamic batch, and compile with batches=[1, 4, 16]" in message


def test_program_for_integers() -> None:
    program = torch.export.export(nn.ReLU().eval(), (torch.ones(2, dtype=torch.int64),))
    message = refused(program, images(2))
    assert "have the dtypes [torch.float32], the program was exported for [torch.int64]" in message


def test_program_for_complex_numbers() -> None:
    program = torch.export.export(nn.Identity().eval(), (torch.ones(2, dtype=torch.complex64),))
    message = refused(program, images(2))
    assert message.startswith("input 'input' of the program is torch.complex64: give real and imaginary")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(3, 4, 1), "expected input[2, 5, 4, 4] to have 3 channels"),
        (nn.Linear(3, 4), "must have same reduction dim"),
        (nn.Conv2d(5, 4, 9), "Kernel size can't be greater than actual input size"),
        (nn.BatchNorm1d(4), "expected 2D or 3D input"),
        (Function(lambda x: x.view(3, -1)), "shape '[3, -1]' is invalid"),
        (Function(lambda x: x[:, 7]), "index 7 is out of bounds"),
    ],
)
def test_shapes_that_do_not_fit(layer: nn.Module, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    message = refused(nn.Sequential(nn.ReLU(), layer).eval(), images(2, 5, 4, 4))
    assert message.startswith("torch.export cannot trace Sequential on inputs of shapes (2, 5, 4, 4): ")
    assert reason in message
    assert ", in module '1'" in message
    assert message.endswith(". Check the input shapes")
    assert capfd.readouterr().err == ""  # torch logs a traceback of its own


@pytest.mark.parametrize("number", [float, int, bool], ids=lambda number: number.__name__)
def test_control_flow_that_depends_on_values(
    number: Callable[[Tensor], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    message = refused(Function(lambda x: x.relu() if number(x.sum()) > 3 else x), images())
    assert "in the model itself (test_errors.py, line " in message
    assert "Control flow must not depend on values" in message
    assert "shapes" not in message.partition("): ")[2]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("five channels are needed"), "ValueError: five channels are needed"),
        (RuntimeError("no such head"), "RuntimeError: no such head"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (KeyError("tokens"), "KeyError: 'tokens'"),
    ],
)
def test_errors_of_the_models_own_code_are_passed_on(error: Exception, told: str) -> None:
    def fail(value: Tensor) -> Tensor:
        raise error

    message = refused(nn.Sequential(nn.Identity(), Function(fail)).eval(), images())
    assert message.startswith("module '1' (test_errors.py, line ")
    assert f" raised {told} (called by torch.export, with inputs of shapes (2, 4, 9, 8))" in message
    assert "Check" not in message


def test_values_that_leave_torch() -> None:
    message = refused(Function(lambda x: torch.from_numpy(x.numpy() * 2)), images())
    assert "use torch's operators in place of NumPy's" in message
    assert "shapes" not in message.partition("): ")[2]


class Optional(nn.Module):
    def forward(self, value: Tensor, other: Tensor | None = None) -> Tensor:
        return value if other is None else value + other


@pytest.mark.parametrize(
    ("model", "count", "message"),
    [
        (nn.Bilinear(3, 4, 5), 1, "forward of Bilinear takes 2 inputs (input1, input2), 1 is given"),
        (nn.ReLU(), 2, "forward of ReLU takes 1 input (input), 2 are given"),
        (nn.ReLU(), 0, "forward of ReLU takes 1 input (input), 0 are given"),
        (Optional(), 3, "forward of Optional takes 1 to 2 inputs (value, other), 3 are given"),
    ],
)
def test_another_number_of_inputs(model: nn.Module, count: int, message: str) -> None:
    assert refused(model.eval(), *[images()] * count) == message


def test_a_keyword_that_is_needed() -> None:
    class Scaled(nn.Module):
        def forward(self, value: Tensor, *, scale: float) -> Tensor:
            return value * scale

    message = refused(Scaled().eval(), images())
    assert message.startswith("forward of Scaled needs the keyword scale: give it in kwargs, or wrap")


@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, images())])
def test_torchscript(make: Callable[[nn.Module], nn.Module]) -> None:
    layer = nn.Conv2d(4, 4, 1).eval()
    advice = "is TorchScript, which torch.export cannot read: pass the torch.nn.Module that it was"
    for model in (make(layer), torch.jit.freeze(torch.jit.script(layer))):
        assert refused(model, images()).startswith(f"the model itself {advice}")
    inside = nn.Sequential(nn.ReLU(), make(layer)).eval()
    assert refused(inside, images()).startswith(f"module '1' {advice}")


def test_quantised_modules() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 4)).eval(), {nn.Linear})
    message = refused(model.eval(), images())
    assert message == "module '0' is quantised: pass the float32 model that it was made from"


def test_a_result_of_a_class_that_torch_does_not_know() -> None:
    @dataclass
    class Result:
        value: Tensor

    message = refused(Function(Result), images())
    assert "Return tuples, lists or dicts of tensors, or call torch.export.register_dataclass" in message
    assert len(message) < 500


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
    "digamma": (torch.digamma, "aten.digamma.default", "no such operator"),
    "cumsum": (lambda x: x.cumsum(1), "aten.cumsum.default", "no such operator"),
    "reflection": (
        lambda x: F.pad(x, (-1, 1, 0, 0), "reflect"),
        "aten.pad.default",
        "its mode is 'reflect', its padding [-1, 1, 0, 0]; none below 0 is supported",
    ),
    "an index that is not there": (
        lambda x: x[:, torch.tensor([0, 4])],
        "aten.index.Tensor",
        "its index 4 is none of 4 elements",
    ),
    "an index from the end": (
        lambda x: x.index_select(1, torch.tensor([0, -1])),
        "aten.index_select.default",
        "its index -1 is none of 4 elements",
    ),
    "volumes": (
        lambda x: torch.convolution(
            x[:, :, None], torch.ones(4, 4, 1, 1, 1), None, [1] * 3, [0] * 3, [1] * 3, True, [0] * 3, 1
        ),
        "aten.convolution.default",
        "its weight has shape (4, 4, 1, 1, 1); one and two dimensions are supported",
    ),
    "computed weight": (lambda x: F.conv2d(x, x[:, :, :1, :1]), "aten.conv2d.default", "its weight is"),
    "attention with dropout": (
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(9, 9), dropout_p=0.25),
        "aten.scaled_dot_product_attention.default",
        "it has dropout of 0.25; attention without dropout is supported",
    ),
    "grouped attention with a computed mask": (
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], x[:, :, :, :1], enable_gqa=True),
        "aten.scaled_dot_product_attention.default",
        "it has a mask that the model computes, and groups of heads that share a key",
    ),
    "indices": (lambda x: F.max_pool2d(x, 2, return_indices=True), "aten.max_pool2d_with", "its result 1"),
    "infinite power": (lambda x: x**math.inf, "aten.pow.Tensor_Scalar", "its exponent is inf"),
    "random": (lambda x: x + torch.rand(8), "aten.rand.default", "no such operator"),
    "comparison": (lambda x: torch.where(x > 0, x, 0.1), "aten.gt.Scalar", "no such operator"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_operator(name: str) -> None:
    function, operator, reason = UNSUPPORTED[name]
    with pytest.raises(UnsupportedOperatorError) as caught:
        from_torch(nn.Sequential(nn.Identity(), Function(function)).eval(), (images(),), fallback="error")
    message = str(caught.value)
    assert message.startswith(f"operator {operator}")
    assert "in module '1' is not supported: " in message
    assert reason in message
    assert message.endswith("sparsegen.frontend.operators.supported_operators() does")
    assert "README.md lists what is, under 'Supported'" in message
    first = caught.value.operators[0]
    assert first.operator.startswith(operator)
    assert first.modules == ("1",)
    assert reason in first.reason


def test_all_unsupported_operators_are_told_at_once() -> None:
    powers, digamma = [Function(lambda x: x**math.inf) for _ in range(5)], Function(torch.digamma)
    model = nn.Sequential(
        *powers, digamma, nn.Conv2d(4, 4, 1), Function(lambda x: torch.where(x > 0, x, 0.1)), digamma
    )
    with pytest.raises(UnsupportedOperatorError) as caught:
        from_torch(model.eval(), (images(),), fallback="error")
    assert caught.value.operators == (
        UnsupportedOperator(
            "aten.pow.Tensor_Scalar",
            ("0", "1", "2", "3", "4"),
            "its exponent is inf; finite ones are supported",
        ),
        UnsupportedOperator("aten.digamma.default", ("5", "8"), "sparsegen has no such operator"),
        UnsupportedOperator("aten.gt.Scalar", ("7",), "sparsegen has no such operator"),
    )
    message = str(caught.value)
    assert message.startswith(
        "operator aten.pow.Tensor_Scalar in modules '0', '1', '2' and 2 more is not supported: its exponent"
    )
    assert "2 more are not: aten.digamma.default in modules '5' and '8': sparsegen has no such" in message
    assert len(message) < 700


def test_the_error_of_unsupported_operators_can_be_sent_between_processes() -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        from_torch(Function(torch.digamma), (images(),), fallback="error")
    sent = pickle.loads(pickle.dumps(caught.value))
    assert (str(sent), sent.operators) == (str(caught.value), caught.value.operators)


def test_another_precision_inside() -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        from_torch(
            nn.Sequential(Function(lambda x: x.double().float())).eval(), (images(),), fallback="error"
        )
    (found,) = caught.value.operators
    assert (found.operator, found.modules) == ("aten._to_copy.default", ("0",))
    assert found.reason == (
        "it gives torch.float64; sparsegen computes in float32: leave casts to other types, and autocast, "
        "out of the model"
    )


def test_autocast_inside_is_one_refusal() -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))

        def forward(self, value: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.layers(value).float()

    with pytest.raises(UnsupportedOperatorError) as caught:
        from_torch(Cast().eval(), (images(),), fallback="error")
    assert [each.operator for each in caught.value.operators] == ["aten._to_copy.default"]
    assert "autocast, out of the model" in caught.value.operators[0].reason


def test_control_flow_operator() -> None:
    def branch(value: Tensor) -> Any:
        return torch.cond(value.sum() > 0, torch.relu, torch.neg, (value,))

    with pytest.raises(UnsupportedOperatorError, match="operator"):
        from_torch(Function(branch), (images(),))
