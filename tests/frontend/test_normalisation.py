"""Normalisations: torch's operators and those that a program spells out, in as few layers as can be."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.errors import UnsupportedOperatorError
from sparsegen.frontend import from_torch, functional
from sparsegen.graph import GroupNorm, LocalResponseNorm
from tests.frontend.checking import Function, check, describe, images, randomised
from tests.kernels.contract import TOLERANCE
from tests.reference import evaluate
from tests.sampling import large

Norm = Callable[[Tensor], Tensor]


def affine(norm: nn.Module) -> nn.Module:
    """The norm with a weight and a bias that matter."""
    for seed, parameter in enumerate(norm.parameters()):
        parameter.data = images(*parameter.shape, seed=seed)
    return norm.eval()


MODULES: dict[str, tuple[nn.Module, tuple[int, ...], list[str]]] = {
    "group norm": (nn.GroupNorm(2, 6), (2, 6, 5, 7), ["GroupNorm mul add"]),
    "group norm, not affine": (nn.GroupNorm(3, 6, affine=False), (2, 6, 5, 7), ["GroupNorm"]),
    "group norm of rows": (nn.GroupNorm(2, 6), (2, 6, 9), ["Reshape", "GroupNorm mul add", "Reshape"]),
    "group norm of volumes": (
        nn.GroupNorm(2, 6), (2, 6, 3, 4, 5), ["Reshape", "GroupNorm mul add", "Reshape"],
    ),
    "group norm of vectors": (nn.GroupNorm(2, 6), (2, 6), ["Reshape", "GroupNorm mul add", "Reshape"]),
    "instance norm": (nn.InstanceNorm2d(6, affine=True), (2, 6, 5, 7), ["GroupNorm mul add"]),
    "instance norm, not affine": (nn.InstanceNorm2d(6, eps=0.1), (2, 6, 5, 7), ["GroupNorm"]),
    "instance norm of rows": (nn.InstanceNorm1d(6), (2, 6, 9), ["Reshape", "GroupNorm", "Reshape"]),
    "instance norm, tracked": (
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True), (2, 6, 5, 7), ["Identity mul add"],
    ),
    "RMS norm": (nn.RMSNorm(7), (2, 6, 7), ["LayerNorm mul"]),
    "RMS norm of two dimensions": (nn.RMSNorm((6, 7), elementwise_affine=False), (2, 6, 7), ["LayerNorm"]),
    "local response norm": (nn.LocalResponseNorm(5, k=2.0, alpha=0.3), (2, 6, 5, 7), ["LocalResponseNorm"]),
    "local response norm, even": (nn.LocalResponseNorm(4, beta=0.5), (2, 6, 5, 7), ["LocalResponseNorm"]),
}  # fmt: skip
FUNCTIONS: dict[str, tuple[Norm, list[str]]] = {
    "RMS norm written out": (
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6), ["LayerNorm"],
    ),
    "RMS norm the other way round": (
        lambda x: torch.rsqrt((x * x).mean((2, 3), keepdim=True) + 0.1) * x + 1, ["LayerNorm add"],
    ),
    "normalize": (lambda x: F.normalize(x), ["Reduce sqrt clamp", "Identity div"]),
    "normalize by magnitudes": (
        lambda x: F.normalize(x, p=1.0, dim=-1), ["Reduce clamp", "Identity div"],
    ),
    "norm": (lambda x: torch.linalg.vector_norm(x), ["Reduce sqrt"]),
    "norm of images": (
        lambda x: torch.linalg.vector_norm(x, dim=(-1, -2)), ["Reduce sqrt"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    norm, shape, layers = MODULES[name]
    assert describe(check(randomised(affine(norm)), images(*shape))) == layers


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    norm, layers = FUNCTIONS[name]
    assert describe(check(Function(norm), images())) == layers


def test_native_group_norm() -> None:
    weight = images(4, seed=1)

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return torch.native_group_norm(x, weight, None, 2, 4, 72, 2, 1e-5)[0]

    assert describe(check(Function(norm, weight), images())) == ["GroupNorm mul"]


def test_the_norm_of_a_program_that_was_taken_apart() -> None:
    """The parts of `F.local_response_norm` under the names of torch's core operators."""
    model, x = nn.LocalResponseNorm(3, alpha=0.5).eval(), images()
    program = torch.export.export(model, (x,)).run_decompositions()
    graph = from_torch(program, (x,))
    assert [type(layer.core) for layer in graph.layers] == [LocalResponseNorm]
    torch.testing.assert_close(evaluate(graph, (x,))[0].float(), model(x))


NOT_QUITE: dict[str, Norm] = {
    "the power is no multiple of 1/4": lambda x: F.local_response_norm(x, 3, beta=0.8),
    "something else reads a part": lambda x: x / (y := F.local_response_norm(x, 3)) + y,
    "the mean of another tensor": lambda x: x.relu() * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "the mean of other dimensions": lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6),
    "a mean of cubes": lambda x: x * torch.rsqrt(x.abs().pow(3).mean(-1, keepdim=True) + 1e-6),
}


@pytest.mark.parametrize("name", NOT_QUITE)
def test_what_is_only_alike_is_not_taken_for_a_norm(name: str) -> None:
    model, x = Function(NOT_QUITE[name]), images().abs() + 0.1
    graph = from_torch(model, (x,))
    torch.testing.assert_close(evaluate(graph, (x,))[0].float(), model(x), rtol=1e-5, atol=1e-5)


def test_order_of_a_norm() -> None:
    model = Function(lambda x: torch.linalg.vector_norm(x, 3, dim=1))
    with pytest.raises(UnsupportedOperatorError, match="its order is 3"):
        from_torch(model, (images(),), fallback="error")


def test_norms_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "trace_anew", lambda program: pytest.fail("it is traced anew"))
    model = nn.Sequential(
        nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LocalResponseNorm(3), nn.RMSNorm(8),
        Function(F.normalize), Function(FUNCTIONS["RMS norm written out"][0]),
        nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"),
    ).eval()  # fmt: skip
    from_torch(model, (images(),))


@large(("batch", "threads"), itertools.product([1, 3, 16, 17], [1, 2]), sample=4)
def test_between_convolutions(batch: int, threads: int) -> None:
    """Their halos are zero, before and after; what is pointwise goes into the norm."""
    norms = affine(nn.GroupNorm(2, 6)), affine(nn.InstanceNorm2d(4, affine=True)), nn.LocalResponseNorm(3)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norms[0], nn.SiLU(), nn.Conv2d(6, 4, 3, padding=1, stride=2), norms[1],
        nn.Conv2d(4, 4, 5, padding=2), norms[2], nn.Conv2d(4, 3, 3, padding=1),
    ).eval()  # fmt: skip
    x = images(batch, 3, 9, 11)
    graph = check(model, x, tolerance=2e-6)
    assert isinstance(graph.layers[1].core, GroupNorm)
    assert [step.op for step in graph.layers[1].epilogue] == ["mul", "add", "silu"]
    (expected,) = evaluate(graph, (x,))
    compiled = compile_graph(graph, threads=threads)
    for _ in range(2):
        error = (compiled(x).double() - expected).abs().max()
        assert error <= TOLERANCE * expected.abs().max()
