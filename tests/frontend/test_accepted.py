"""Models that look strange and are fine: each compiles, and gives what torch gives."""

from __future__ import annotations

import copy
import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass
from torch.sparse.semi_structured import SparseSemiStructuredTensorCUTLASS
from torch.utils import _pytree as pytree

import sparsegen
from sparsegen.frontend import from_torch
from tests.frontend.checking import Function, images
from tests.reference import evaluate

INF, NAN = float("inf"), float("nan")


def check_same(model: nn.Module, *inputs: Tensor, tolerance: float = 1e-5) -> None:
    """Translate `model` and compare with torch, NaN and infinities included."""
    with torch.no_grad():
        expected = pytree.tree_leaves(model(*inputs))
    graph = from_torch(model, inputs)
    computed = iter(evaluate(graph, inputs))
    for position, correct in enumerate(expected):
        known = graph.known_outputs.get(position)
        result = next(computed) if known is None else known.double()
        scale = max(1.0, float(correct[correct.isfinite()].abs().max()) if correct.isfinite().any() else 0.0)
        torch.testing.assert_close(
            result, correct.double(), rtol=tolerance, atol=tolerance * scale, equal_nan=True
        )


def check_compiled(model: nn.Module, *inputs: Tensor) -> None:
    """Compile `model` and compare with torch, NaN and infinities included."""
    result = sparsegen.compile(model, inputs, threads=1, target="haswell", database=None)(*inputs)
    with torch.no_grad():
        expected = model(*inputs)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()


class Causal(nn.Module):
    """Attention with the mask that every decoder has."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.project = nn.Linear(16, 16)
        self.register_buffer("mask", torch.triu(torch.full((tokens, tokens), -INF), 1))

    def forward(self, value: Tensor) -> Tensor:
        scores = value @ self.project(value).transpose(1, 2)
        result: Tensor = (scores + self.mask).softmax(-1) @ value
        return result


def test_a_causal_mask() -> None:
    check_same(Causal(9).eval(), images(2, 9, 16))
    check_compiled(Causal(9).eval(), images(2, 9, 16))


@pytest.mark.parametrize(
    "unread",
    [
        torch.ones(3, dtype=torch.float64),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3, device="meta"),
        torch.full((3,), NAN),
        torch.eye(3).to_sparse(),
    ],
    ids=["double", "bfloat16", "complex", "meta", "nan", "sparse"],
)
def test_buffers_that_nothing_reads(unread: Tensor) -> None:
    model = nn.Sequential(Function(lambda value, _: value.relu(), unread)).eval()
    with torch.no_grad():
        model.weight = nn.Parameter(unread.detach().clone(), requires_grad=False)
    check_same(model, images())


def test_numbers_of_another_type() -> None:
    check_same(Function(torch.mul, torch.tensor(3.0, dtype=torch.float64)), images())
    check_same(Function(lambda x, y: x + y.float(), torch.rand(8, dtype=torch.float64)), images())
    check_same(Function(torch.add, torch.rand(8, dtype=torch.bfloat16)), images())


SCALE = torch.tensor([1.0, INF, NAN, -2.0]).reshape(4, 1, 1)


@pytest.mark.parametrize(
    "model",
    [
        Function(torch.mul, SCALE),
        Function(torch.add, torch.tensor(-INF)),
        nn.Sequential(nn.Conv2d(4, 4, 1), Function(torch.mul, SCALE)),
        nn.Sequential(nn.Conv2d(4, 4, 1), Function(torch.add, SCALE), Function(torch.div, SCALE)),
        nn.Sequential(nn.Conv2d(4, 4, 1), Function(torch.mul, torch.full((4, 1, 1), 1e38)), nn.Tanh()),
        Function(torch.matmul, torch.full((8, 3), INF)),
    ],
    ids=["scale", "number", "scaled", "shifted", "large", "product"],
)
def test_infinities_that_are_no_weights(model: nn.Module) -> None:
    check_same(model.eval(), images())


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["0.bias", "1.running_var", "1.running_mean", "1.weight", "1.bias"])
def test_infinities_beside_weights(name: str, value: float) -> None:
    model = layers()
    with torch.no_grad():
        model.state_dict()[name][1] = value
    check_same(model[:3].eval(), images())


def test_infinities_in_compiled_code() -> None:
    model = layers()[:3].eval()
    with torch.no_grad():
        model[0].bias[1] = INF  # type: ignore[index, operator, union-attr]
        model[1].running_var[2] = NAN  # type: ignore[index, operator, union-attr]
        model[1].bias[3] = -INF  # type: ignore[index, operator, union-attr]
    check_compiled(model, images())


def test_inference_mode() -> None:
    with torch.inference_mode():
        model, value = layers(), images()
    check_same(model, value)
    assert model[0].weight.is_inference()
    ordinary = layers()
    with torch.inference_mode():
        graph = from_torch(ordinary, (images(),))
    (result,), expected = evaluate(graph, (images(),)), ordinary(images())
    torch.testing.assert_close(result, expected.detach().double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_callers_autocast_changes_nothing(dtype: torch.dtype) -> None:
    model, value = layers(), images()
    with torch.autocast("cpu", dtype=dtype):
        graph = from_torch(model, (value,))
    torch.testing.assert_close(
        evaluate(graph, (value,))[0], model(value).detach().double(), rtol=1e-5, atol=1e-5
    )


NORMS = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("name", NORMS)
def test_weights_that_are_computed(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(NORMS[name](nn.Conv2d(4, 6, 3)), nn.ReLU(), NORMS[name](nn.Conv2d(6, 4, 1))).eval()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The tensor attribute")
        check_same(model, images())


EXPORTED: dict[str, Callable[[], nn.Module]] = {
    "program": lambda: torch.export.export(layers(), (images(),)).module(),
    "unflattened": lambda: torch.export.unflatten(torch.export.export(layers(), (images(),))),
    "traced": lambda: torch.fx.symbolic_trace(layers()),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_modules_made_by_torch(name: str) -> None:
    check_same(EXPORTED[name](), images())
    around = nn.Sequential(EXPORTED[name](), nn.ReLU().eval())
    around.training = False
    check_same(around, images())


@pytest.mark.parametrize(
    "sparse",
    [Tensor.to_sparse_coo, Tensor.to_sparse_csr, Tensor.to_sparse_csc, lambda w: w.to_sparse_bsr((4, 4))],
    ids=["coo", "csr", "csc", "bsr"],
)
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_sparse_layouts(sparse: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU()).eval()
    weight = F.dropout(model[0].weight.detach())
    dense = copy.deepcopy(model)
    dense[0].weight = nn.Parameter(weight)
    model[0].weight = nn.Parameter(sparse(weight), requires_grad=False)
    value = images(2, 9, 16)
    (result,), expected = evaluate(from_torch(model, (value,)), (value,)), dense(value)
    torch.testing.assert_close(result, expected.detach().double(), rtol=1e-5, atol=1e-5)
    assert model[0].weight.layout != torch.strided


def test_semi_structured_weights() -> None:
    dense = torch.tensor([0.0, 2.0]).tile((32, 32))
    packed, meta = sparse_semi_structured_from_dense_cutlass(dense)
    model = nn.Linear(64, 32).eval()
    weight = SparseSemiStructuredTensorCUTLASS(dense.shape, packed, meta, None, None, None)
    model.weight = nn.Parameter(weight, requires_grad=False)
    (result,) = evaluate(from_torch(model, (images(2, 64),)), (images(2, 64),))
    assert model.bias is not None
    expected = F.linear(images(2, 64), dense, model.bias.detach())  # torch itself runs them on CUDA alone
    torch.testing.assert_close(result, expected.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean().softmax(0),
        lambda x: x.mean().mean(0, keepdim=True),
        lambda x: x.mean().transpose(0, -1) + 1,
        lambda x: torch.cat([torch.empty(0), x], 1),
        lambda x: torch.cat([torch.empty(0), x[:, :0, 0, 0], x[:, :2, 0, 0]], 1),
        lambda x: torch.cat([x[:, 4:].relu(), x], 1),
        lambda x: torch.split(x, [0, 4], 1)[1],
        lambda x: x + x[:0].sum(),
        lambda x: torch.stack([x.mean(), x.mean() * 2]),
    ],
    ids=["softmax", "mean", "transpose", "legacy", "matrix", "empty", "split", "sum", "stack"],
)
def test_numbers_and_empty_tensors(function: Callable[[Tensor], Any]) -> None:
    check_same(Function(function), images())


Pair = namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: {"a": x.relu(), "b": [x + 1, (x * 2,)]},
        lambda x: Pair(x.relu(), x),
        lambda x: x,
        lambda x: (x, x, torch.ones(3)),
    ],
    ids=["dict", "namedtuple", "input", "constant"],
)
def test_results_in_any_structure(function: Callable[[Tensor], Any]) -> None:
    check_same(Function(function), images())


def test_inputs_at_their_defaults() -> None:
    class Scaled(nn.Module):
        def forward(
            self, value: Tensor, other: Tensor | None = None, *, scale: float = 2.0, flag: bool = True
        ) -> Tensor:
            scaled = value * scale if flag else value
            return scaled if other is None else scaled + other

    check_same(Scaled().eval(), images())
    check_same(Scaled().eval(), images(), images(seed=1))
