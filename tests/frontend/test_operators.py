"""Every operator alone: the graph computes what torch computes, with the layers it should have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsegen.frontend import from_torch
from sparsegen.frontend.operators import supported_operators
from sparsegen.frontend.simplify import remove_unread
from sparsegen.graph import LayerGraph
from tests.frontend.checking import Function, check, check_close, describe, images
from tests.reference import evaluate

CHECKERED = torch.arange(72).view(9, 8) % 3 > 0


def ramp(x: Tensor, *shape: int) -> Tensor:
    """A constant of the input's type."""
    return torch.linspace(-1, 1, prod(shape), dtype=x.dtype).view(shape)


UNARY: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "relu": (F.relu, "relu"),
    "relu in place": (lambda x: F.relu(x.clone(), inplace=True), "relu"),
    "relu6": (F.relu6, "relu6"),
    "relu6 in place": (lambda x: F.relu6(x.clone(), inplace=True), "relu6"),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 1.5), "clamp"),
    "clamp": (lambda x: x.clamp(-0.5, 0.75), "clamp"),
    "clamp from below": (lambda x: x.clamp(min=-0.5), "clamp"),
    "clamp at zero": (lambda x: x.clamp(min=0), "relu"),
    "clamp_min": (lambda x: torch.clamp_min(x, 0.25), "clamp"),
    "clamp_max": (lambda x: torch.clamp_max(x, 0.25), "clamp"),
    "silu": (F.silu, "silu"),
    "silu written out": (lambda x: x * torch.sigmoid(x), "silu"),
    "gelu": (F.gelu, "gelu"),
    "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), "gelu_tanh"),
    "gelu written out": (
        lambda x: 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0)))),
        "gelu_tanh",
    ),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "tanh": (torch.tanh, "tanh"),
    "hardswish": (F.hardswish, "hardswish"),
    "hardswish written out": (lambda x: x * F.relu6(x + 3.0) / 6.0, "hardswish"),
    "hardswish from hardsigmoid": (lambda x: x * F.hardsigmoid(x), "hardswish"),
    "hardswish from a division": (lambda x: (F.relu6(x + 3) / 6) * x, "hardswish"),
    "hardsigmoid": (F.hardsigmoid, "hardsigmoid"),
    "hardsigmoid written out": (lambda x: F.relu6(x + 3) / 6, "hardsigmoid"),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), "leaky_relu"),
    "rrelu": (lambda x: F.rrelu(x, 0.1, 0.3), "leaky_relu"),
    "exp": (torch.exp, "exp"),
    "sqrt": (lambda x: x.abs().sqrt(), "abs sqrt"),
    "square root as a power": (lambda x: x.abs() ** 0.5, "abs sqrt"),
    "neg": (lambda x: -x, "neg"),
    "abs": (torch.abs, "abs"),
    "square": (torch.square, "square"),
    "power of 2": (lambda x: x**2, "square"),
    "power of 3": (lambda x: x**3, "cube"),
    "power of -1": (lambda x: (x.abs() + 1) ** -1, "abs add div"),
    "power of -2": (lambda x: (x.abs() + 1) ** -2, "abs add square div"),
    "power of a root": (lambda x: (x.abs() + 1) ** -0.5, "abs add sqrt div"),
    "power of 1": (lambda x: x**1 + 1, "add"),
    "another power": (lambda x: x.abs() ** 1.3, "abs pow"),
    "power of a tensor": (lambda x: x.abs() ** torch.tensor([1.25]), "abs pow"),
    "expm1": (torch.expm1, "expm1"),
    "log": (lambda x: x.abs().log(), "abs log"),
    "log2": (lambda x: x.abs().log2(), "abs log2"),
    "log10": (lambda x: x.abs().log10(), "abs log10"),
    "log1p": (lambda x: x.abs().log1p(), "abs log1p"),
    "rsqrt": (lambda x: (x.abs() + 1).rsqrt(), "abs add sqrt div"),
    "erf": (torch.erf, "erf"),
    "sin": (torch.sin, "sin"),
    "cos": (torch.cos, "cos"),
    "floor": (torch.floor, "floor"),
    "ceil": (torch.ceil, "ceil"),
    "trunc": (torch.trunc, "trunc"),
    "round": (torch.round, "round"),
    "sign": (torch.sign, "sign"),
    "elu": (lambda x: F.elu(x, 0.5), "elu"),
    "selu": (F.selu, "elu"),
    "celu": (lambda x: F.celu(x, 0.5), "elu"),
    "softplus": (lambda x: F.softplus(x, 2, 3), "softplus"),
    "softsign": (F.softsign, "softsign"),
    "mish": (F.mish, "mish"),
    "logsigmoid": (F.logsigmoid, "log_sigmoid"),
    "tanhshrink": (F.tanhshrink, "tanh sub"),
    "threshold": (lambda x: F.threshold(x, 0.25, -1), "threshold"),
    "prelu": (lambda x: F.prelu(x, ramp(x, 1)), "prelu"),
    "prelu by channel": (lambda x: F.prelu(x, ramp(x, 4)), "prelu"),
}

ARITHMETIC: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "add a number": (lambda x: x + 0.1, "add"),
    "add to a number": (lambda x: 2 + x, "add"),
    "subtract a number": (lambda x: x - 0.1, "sub"),
    "subtract from a number": (lambda x: 1 - x, "sub"),
    "multiply by a number": (lambda x: x * 3, "mul"),
    "divide by a number": (lambda x: x / 7, "div"),
    "divide a number": (lambda x: 2 / (x.abs() + 1), "abs add div mul"),
    "reciprocal": (lambda x: torch.reciprocal(x.abs() + 1), "abs add div"),
    "add a scaled tensor": (lambda x: torch.add(x, x.relu(), alpha=3), "relu mul add"),
    "subtract a scaled tensor": (lambda x: torch.sub(x, x.relu(), alpha=0.5), "relu mul sub"),
    "subtract a scaled constant": (lambda x: torch.sub(x, torch.ones(8), alpha=0.5), "sub"),
    "rsub": (lambda x: torch.rsub(x, x.relu(), alpha=2), "relu mul sub"),
    "constant by channel": (lambda x: x * torch.arange(4.0).view(4, 1, 1), "mul"),
    "constant minus": (lambda x: torch.ones(8) - x, "sub"),
    "whole constant minus": (lambda x: torch.ones(2, 4, 9, 8) / (x.abs() + 1), "abs add div"),
    "one-element constant": (lambda x: x + torch.tensor([2.0]), "add"),
    "two constants": (lambda x: x + torch.ones(8) * torch.full((4, 1, 1), 3.0), "add"),
    "integer constant": (lambda x: x + torch.arange(8), "add"),
    "in place": (lambda x: x.clone().mul_(2).add_(1), "mul add"),
    "maximum": (lambda x: torch.maximum(x, x.exp() - 1), "exp sub maximum"),
    "minimum with a constant": (lambda x: torch.minimum(ramp(x, 8), x), "minimum"),
    "max of two": (lambda x: torch.max(x, ramp(x, 4, 1, 1)), "maximum"),
    "clamp by tensors": (lambda x: x.clamp(ramp(x, 8), ramp(x, 8) + 0.5), "maximum minimum"),
    "clamp from below by a tensor": (lambda x: x.clamp(min=ramp(x, 8)), "maximum"),
    "clamp_max by a tensor": (lambda x: torch.clamp_max(x, ramp(x, 8)), "minimum"),
    "addcmul": (lambda x: torch.addcmul(x, x, ramp(x, 8), value=2), "mul mul add"),
    "addcdiv": (lambda x: torch.addcdiv(x, x, ramp(x, 8) + 2, value=0.5), "mul div add"),
    "lerp": (lambda x: x.lerp(x.exp(), 0.25), "exp sub mul add"),
    "lerp, nearer to the end": (lambda x: x.lerp(x.exp(), 0.75), "exp sub mul sub"),
    "where, a number": (lambda x: torch.where(CHECKERED, x, 0.5), "select"),
    "where, the other way round": (lambda x: torch.where(CHECKERED, -1, x), "select"),
    "where of two values": (lambda x: torch.where(CHECKERED, x, x * 2), "mul select select add"),
    "where with a constant": (lambda x: torch.where(CHECKERED, x, ramp(x, 8)), "select add"),
    "where it always holds": (lambda x: torch.where(ramp(x, 8) < 2, x, 0.5) + 1, "add"),
    "where it never holds": (lambda x: torch.where(ramp(x, 8) > 2, 0.5, x) + 1, "add"),
    "masked fill": (lambda x: x.masked_fill(CHECKERED, 3), "select"),
    "masked fill by a tensor": (lambda x: x.masked_fill(CHECKERED, torch.tensor(3.0)), "select"),
}


BROADCASTING: dict[str, Callable[[Tensor], Tensor]] = {
    "by channel": lambda x: x * x.mean((2, 3), keepdim=True),
    "channel minus": lambda x: x.mean((2, 3), keepdim=True) - x,
    "channel over": lambda x: x.mean((2, 3), keepdim=True) / (x.abs() + 1),
    "both sides grow": lambda x: x.mean((2, 3), keepdim=True) - x.mean((0, 1), keepdim=True),
    "constant grows": lambda x: x.mean((2, 3), keepdim=True) * torch.ones(8),
    "expand": lambda x: x * x.mean((2, 3), keepdim=True).expand_as(x),
    "one minus an expand": lambda x: 1 - x.mean((2, 3), keepdim=True).expand_as(x),
    "an expand times two": lambda x: x.mean((2, 3), keepdim=True).expand_as(x) * 2,
    "expand in a concatenation": lambda x: torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1),
    "expand alone": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "the smaller of two that grow": lambda x: torch.minimum(
        x.mean((2, 3), keepdim=True), x.mean((0, 1), keepdim=True)
    ),
    "where, one side grows": lambda x: torch.where(CHECKERED, x.mean((2, 3), keepdim=True), x),
    "where, a side for all": lambda x: torch.where(CHECKERED > 2, x, x.mean((2, 3), keepdim=True)),
    "batch grows": lambda x: x[0] + x,
    "rank grows": lambda x: x[0, 0] + torch.ones(3, 4, 9, 8),
}

ARRANGEMENT: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "view": (lambda x: x.view(2, -1), ["Reshape"]),
    "view of the same shape": (lambda x: x.view(2, 4, 9, 8) + 1, ["Identity add"]),
    "flatten": (lambda x: x.flatten(2), ["Reshape"]),
    "unflatten": (lambda x: x.unflatten(1, (2, 2)), ["Reshape"]),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze(1) + 1, ["Identity add"]),
    "squeeze all": (lambda x: x[:, :1].squeeze(), ["Slice", "Reshape"]),
    "squeeze several": (lambda x: x[:1, :1].squeeze((0, 1)), ["Slice", "Slice", "Reshape"]),
    "reshape twice": (lambda x: x.flatten(1).unsqueeze(1), ["Reshape"]),
    "permute": (lambda x: x.permute(0, 2, -1, 1), ["Permute"]),
    "permute of ones": (lambda x: x.mean((2, 3), keepdim=True).permute(0, 2, 3, 1), ["Mean", "Reshape"]),
    "transpose": (lambda x: x.transpose(1, -1), ["Permute"]),
    "contiguous": (lambda x: x.transpose(1, 2).contiguous(), ["Permute"]),
    "t": (lambda x: x[0, 0].t(), ["Slice", "Reshape", "Slice", "Reshape", "Permute"]),
    "slice": (lambda x: x[:, 1:3], ["Slice"]),
    "slice from the end": (lambda x: x[:, -3:-1], ["Slice"]),
    "slice with steps": (lambda x: x[:, :, ::2, 1::3], ["Slice", "Slice"]),
    "slice past the end": (lambda x: x[:, 1:100], ["Slice"]),
    "slice of everything": (lambda x: x[:, :4] + 1, ["Identity add"]),
    "select": (lambda x: x[:, -1], ["Slice", "Reshape"]),
    "narrow": (lambda x: x.narrow(1, 1, 2), ["Slice"]),
    "split": (lambda x: torch.cat(x.split(3, 1)[::-1], 1), ["Slice", "Slice", "Concat"]),
    "split with sizes": (lambda x: x.split([1, 3], -3)[1], ["Slice"]),
    "chunk": (lambda x: x.chunk(3, 1)[1], ["Slice"]),
    "unbind": (lambda x: x.unbind(2)[2], ["Slice", "Reshape"]),
    "cat": (lambda x: torch.cat([x, x.relu(), torch.ones(2, 1, 9, 8)], -3), ["Identity relu", "Concat"]),
    "cat of one": (lambda x: torch.cat([x]) + 1, ["Identity add"]),
    "stack": (lambda x: torch.stack([x, x], -1), ["Reshape", "Reshape", "Concat"]),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 2), ["Reshape", "Permute", "Reshape"]),
    "pad": (lambda x: F.pad(x, (1, 2, 3, 4)), ["Pad"]),
    "pad with a value": (lambda x: F.pad(x, (1, 0, 0, 0, 1, 1), value=2.5), ["Pad"]),
    "pad by less than nothing": (lambda x: F.pad(x, (-1, 2, 0, -3), value=1.0), ["Slice", "Slice", "Pad"]),
    "pad by a mirror": (lambda x: F.pad(x, (3, 2, 0, 8), mode="reflect"), ["Gather", "Gather"]),
    "pad rows by a mirror": (lambda x: F.pad(x.flatten(0, 1), (1, 0), mode="reflect"), ["Reshape", "Gather"]),
    "pad by the edge": (lambda x: F.pad(x, (3, 9, 0, 1), mode="replicate"), ["Gather", "Gather"]),
    "pad by a circle": (lambda x: F.pad(x, (8, 2, 1, 1), mode="circular"), ["Gather", "Gather"]),
    "pad volumes by the edge": (
        lambda x: F.pad(x[None], (1, 1, 2, 0, 0, 3), mode="replicate"),
        ["Reshape", *["Gather"] * 3],
    ),
    "crop": (lambda x: F.pad(x, (-1, -1)), ["Slice"]),
    "constant_pad_nd": (lambda x: torch.constant_pad_nd(x, (1, 1), 3), ["Pad"]),
    "detach and to": (lambda x: x.detach().to(torch.float32).type_as(x) + 1, ["Identity add"]),
}


REDUCTION: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "max pool": (lambda x: F.max_pool2d(x, 3, 2, 1), ["Pool2d"]),
    "max pool of negatives": (lambda x: F.max_pool2d(-x.exp(), 3, 2, 1), ["Identity exp neg", "Pool2d"]),
    "max pool, stride of the kernel": (lambda x: F.max_pool2d(x, (2, 3)), ["Pool2d"]),
    "max pool with unread indices": (
        lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
        ["Pool2d"],
    ),
    "average pool": (lambda x: F.avg_pool2d(x, 3, 2, 1), ["Pool2d"]),
    "average pool with divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), ["Pool2d"]),
    "adaptive average": (lambda x: F.adaptive_avg_pool2d(x, (4, 3)), ["AdaptivePool2d"]),
    "adaptive average, one side": (lambda x: F.adaptive_avg_pool2d(x, (None, 3)), ["AdaptivePool2d"]),
    "adaptive average to the same": (lambda x: F.adaptive_avg_pool2d(x, (9, 8)) + 1, ["Identity add"]),
    "adaptive max": (lambda x: F.adaptive_max_pool2d(x, 2), ["AdaptivePool2d"]),
    "mean": (lambda x: x.mean((2, 3)), ["Mean"]),
    "mean over negative dimensions": (lambda x: x.mean((-1, -2), keepdim=True), ["Mean"]),
    "mean of all": (lambda x: x.mean(), ["Mean"]),
    "mean then relu": (lambda x: x.mean(1).relu(), ["Mean relu"]),
    "softmax": (lambda x: x.softmax(-3).relu(), ["Softmax", "Identity relu"]),
    "layer norm": (lambda x: F.layer_norm(x, (8,)), ["LayerNorm"]),
    "layer norm of images": (
        lambda x: F.layer_norm(x, (9, 8), ramp(x, 9, 8), ramp(x, 9, 8), 0.5),
        ["LayerNorm mul add"],
    ),
    "layer norm without bias": (
        lambda x: F.layer_norm(x, (8,), ramp(x, 8)).relu(),
        ["LayerNorm mul relu"],
    ),
    "gated": (lambda x: F.glu(x, 1), ["Slice", "Slice", "Identity sigmoid mul"]),
    "split, unsafely": (lambda x: torch.unsafe_split(x, 3, 2)[1].relu(), ["Slice", "Identity relu"]),
    "deviation and mean": (lambda x: torch.std_mean(x, (2, 3))[0] + 1, ["Reduce div sqrt add"]),
    "native layer norm": (
        lambda x: torch.native_layer_norm(x, (8,), ramp(x, 8), ramp(x, 8), 1e-5)[0],
        ["LayerNorm mul add"],
    ),
}

PRODUCTS: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "matmul": (lambda x: x @ x.relu().transpose(2, 3), ["Identity relu", "MatMul"]),
    "transposed first": (lambda x: x.mT @ x, ["MatMul"]),
    "transposed twice": (lambda x: x @ x.mT.mT.mT, ["MatMul"]),
    "linear of flattened rows": (
        lambda x: torch.addmm(ramp(x, 3), x.view(-1, 8), ramp(x, 8, 3)).view(2, 4, 9, 3).relu(),
        ["Linear relu"],
    ),
    "linear of joined dimensions": (
        lambda x: torch.mm(x.view(-1, 72), ramp(x, 72, 3)).view(2, 4, 3),
        ["Reshape", "Linear"],
    ),
    "linear of other rows": (
        lambda x: torch.mm(x.view(-1, 4), ramp(x, 4, 3)).view(2, 4, 54),
        ["Reshape", "Linear", "Reshape"],
    ),
    "matmul by vector": (
        lambda x: x @ x[0, 0, 0],
        [*["Slice", "Reshape"] * 3, "MatMul", "Reshape"],
    ),
    "vector by matmul": (lambda x: ramp(x, 9) @ x, ["MatMul", "Reshape"]),
    "matmul of other ranks": (lambda x: x @ x[0, 0].t(), [*["Slice", "Reshape"] * 2, "MatMul"]),
    "constant by value": (lambda x: ramp(x, 3, 9) @ x, ["MatMul"]),
    "value by several constants": (lambda x: x @ ramp(x, 4, 8, 3), ["MatMul"]),
    "bmm": (lambda x: torch.bmm(x[0], x[1].mT), ["Slice", "Reshape", "Slice", "Reshape", "MatMul"]),
    "mm": (lambda x: x[0, 0].mm(x[0, 0].t()), [*["Slice", "Reshape"] * 4, "MatMul"]),
    "addmm": (
        lambda x: torch.addmm(ramp(x, 9), x[0, 0], x[0, 0].t(), beta=2, alpha=3),
        [*["Slice", "Reshape"] * 4, "MatMul mul add"],
    ),
    "baddbmm": (
        lambda x: torch.baddbmm(ramp(x, 1, 9, 9), x[0], x[0].mT, beta=0.5, alpha=2),
        [*["Slice", "Reshape"] * 2, "MatMul mul add"],
    ),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x, x.relu(), x.exp()),
        ["Identity relu", "Identity exp", "MatMul mul", "Softmax", "MatMul"],
    ),
    "scaled attention": (
        lambda x: F.scaled_dot_product_attention(x[:, :, :5], x, x, scale=0.25),
        ["Slice", "MatMul mul", "Softmax", "MatMul"],
    ),
}


class Cases(nn.Module):
    """Many functions, each of an input of its own: one export serves all."""

    def __init__(self, functions: list[Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.functions = functions
        self.eval()

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return [function(value) for function, value in zip(self.functions, inputs, strict=True)]


FUNCTIONS = BROADCASTING | {
    name: function
    for name, (function, _) in (UNARY | ARITHMETIC | ARRANGEMENT | REDUCTION | PRODUCTS).items()
}


@pytest.fixture(scope="module")
def compiled() -> LayerGraph:
    return from_torch(Cases(list(FUNCTIONS.values())), (images(),) * len(FUNCTIONS))


def check_case(name: str, compiled: LayerGraph) -> list[str]:
    """Compare the function with its part of the graph; returns the part's layers."""
    output = compiled.outputs[list(FUNCTIONS).index(name)]
    part = remove_unread(replace(compiled, outputs=(output,)))
    (result,) = evaluate(part, (images(),) * len(FUNCTIONS))
    check_close(result, FUNCTIONS[name](images().double()), 1e-7)
    return describe(part)


@pytest.mark.parametrize("name", UNARY | ARITHMETIC)
def test_pointwise(name: str, compiled: LayerGraph) -> None:
    _, steps = (UNARY | ARITHMETIC)[name]
    layers = [layer.split() for layer in check_case(name, compiled)]
    assert {core for core, *_ in layers} == {"Identity"}
    assert " ".join(step for _, *epilogue in layers for step in epilogue) == steps


@pytest.mark.parametrize("name", BROADCASTING)
def test_broadcasting(name: str, compiled: LayerGraph) -> None:
    check_case(name, compiled)


@pytest.mark.parametrize("name", ARRANGEMENT | REDUCTION | PRODUCTS)
def test_arrangement_reduction_and_products(name: str, compiled: LayerGraph) -> None:
    _, layers = (ARRANGEMENT | REDUCTION | PRODUCTS)[name]
    assert check_case(name, compiled) == layers


def test_one_element_constant_becomes_a_number() -> None:
    graph = check(Function(lambda x: x + torch.tensor([[2.5]])), images())
    assert graph.layers[0].epilogue[0].operand == 2.5
    assert not graph.constants


def test_expand_before_arithmetic_needs_no_layer() -> None:
    graph = check(Function(lambda x: x * x.mean((2, 3), keepdim=True).expand_as(x)), images())
    assert describe(graph) == ["Mean", "Identity mul"]


WEIGHTED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 9, 8)),
    "convolution without bias": (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), bias=False), (2, 4, 9, 8)),
    "same padding, even kernel": (nn.Conv2d(4, 6, (4, 3), dilation=(1, 2), padding="same"), (2, 4, 9, 8)),
    "valid padding": (nn.Conv2d(4, 6, 3, padding="valid"), (2, 4, 9, 8)),
    "aten.convolution": (
        Function(
            lambda x, weight: torch.convolution(x, weight, None, [2], [1], [1], False, [0], 1),
            images(2, 4, 3, 3, seed=1),
        ),
        (2, 4, 9, 8),
    ),
    "linear": (nn.Linear(8, 5), (3, 8)),
    "linear on the last dimension": (nn.Linear(8, 5, bias=False), (2, 3, 4, 8)),
    "linear on a vector": (nn.Linear(8, 5), (8,)),
    "matmul": (Function(torch.matmul, images(8, 3)), (2, 5, 8)),
    "mm": (Function(torch.mm, images(8, 3)), (2, 8)),
    "addmm": (
        Function(
            lambda x, matrix, bias: torch.addmm(bias, x, matrix, beta=2, alpha=0.5), images(8, 3), images(3)
        ),
        (2, 8),
    ),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weighted(name: str) -> None:
    module, shape = WEIGHTED[name]
    (layer,) = describe(check(module.eval(), images(*shape)))
    assert layer in ("Conv2d", "Linear")


def test_addmm_with_a_whole_addend() -> None:
    model = Function(lambda x, matrix, addend: torch.addmm(addend, x, matrix), images(8, 3), images(2, 3))
    assert describe(check(model, images(2, 8))) == ["Linear add"]


def test_dropout_is_dropped() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout2d(), nn.ReLU(), nn.AlphaDropout()).eval()
    assert describe(check(model, images())) == ["Identity relu"]


def test_supported_operators_are_sorted_aten_names() -> None:
    names = supported_operators()
    assert list(names) == sorted(names)
    for name in names:
        namespace, operator, overload = name.split(".")
        assert hasattr(getattr(getattr(torch.ops, namespace), operator), overload)
