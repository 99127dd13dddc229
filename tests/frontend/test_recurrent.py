"""LSTMs and GRUs of every form, against torch in float64."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import sparsegen
from sparsegen.errors import UnsupportedOperatorError
from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, Linear, Recurrent
from sparsegen.kernels import build_kernel
from sparsegen.kernels.plan import plan_graph
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import parse_target
from tests.frontend.checking import check, check_close, images
from tests.sampling import large

KINDS = (nn.LSTM, nn.GRU)
TARGETS = ("native", "haswell")


def network(
    kind: type[nn.RNNBase], inputs: int, hidden: int, *, density: float = 1.0, **options: Any
) -> nn.Module:
    """A network in evaluation mode, some of its weights zero."""
    torch.manual_seed(0)
    model = kind(inputs, hidden, **options).eval()
    for name, parameter in model.named_parameters():
        if name.startswith("weight"):
            parameter.data *= torch.rand(parameter.shape) < density
    return model


def agree(model: nn.Module, *inputs: Any, **options: Any) -> CompiledModel:
    """Compile the model, compare every result with torch's, twice, and return what was compiled."""
    compiled = sparsegen.compile(model, inputs, **options)
    doubles = pytree.tree_map_only(Tensor, Tensor.double, inputs)
    with torch.no_grad():
        expected = pytree.tree_leaves(copy.deepcopy(model).double()(*doubles))
    for _ in range(2):
        for result, correct in zip(pytree.tree_leaves(compiled(*inputs)), expected, strict=True):
            check_close(result.double(), correct, 2e-6)
    return compiled


def kinds(compiled: CompiledModel) -> set[str]:
    return {layer.kernel for layer in compiled.layers}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_graph_computes_what_torch_does(
    kind: type[nn.RNNBase], batch_first: bool, bidirectional: bool, bias: bool
) -> None:
    model = network(
        kind, 5, 11, num_layers=2, batch_first=batch_first, bidirectional=bidirectional, bias=bias
    )
    graph = check(model, images(3, 4, 5))
    assert sum(isinstance(layer.core, Recurrent) for layer in graph.layers) == 2 + 2 * bidirectional


@large(
    ("setting", "kind", "target"),
    itertools.product(
        [(1, 7, 1), (3, 1, 2), (16, 7, 2), (17, 7, 1), (17, 2, 2)],  # batches, steps and threads
        KINDS,
        TARGETS,
    ),
    sample=8,
)
def test_batches_steps_and_threads(
    setting: tuple[int, int, int], kind: type[nn.RNNBase], target: str
) -> None:
    batch, steps, threads = setting
    model = network(kind, 20, 24, batch_first=True, bidirectional=True, density=0.2)
    compiled = agree(model, images(batch, steps, 20), threads=threads, target=target)
    assert "torch" not in kinds(compiled)


@large(
    ("kind", "units"),
    itertools.product(KINDS, [(1, 1.0), (8, 0.15), (33, 0.15), (33, 1.0), (64, 0.0)]),  # and their density
    sample=6,
)
def test_any_number_of_units_and_zeros(kind: type[nn.RNNBase], units: tuple[int, float]) -> None:
    hidden, density = units
    agree(network(kind, 9, hidden, num_layers=2, density=density), images(4, 2, 9))


@large(("kind", "target"), itertools.product(KINDS, TARGETS), sample=2)
def test_given_states(kind: type[nn.RNNBase], target: str) -> None:
    value, hidden, cell = images(3, 5, 6), images(4, 5, 10, seed=1), images(4, 5, 10, seed=2)
    states = (hidden, cell) if kind is nn.LSTM else hidden
    agree(network(kind, 6, 10, num_layers=2, bidirectional=True), value, states, target=target)


class Known(nn.Module):
    """Begins in states that are its own, and gives parts of the results."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network(nn.LSTM, 6, 10)
        self.hidden, self.cell = (nn.Parameter(images(*shape, seed=seed)) for seed in range(2))

    def forward(self, value: Tensor) -> Tensor:
        outputs, (hidden, _) = self.network(value, (self.hidden, self.cell))
        return outputs[-1] + hidden[0]


def test_known_states_and_a_cell_that_nothing_reads() -> None:
    model = Known((1, 3, 10)).eval()
    agree(model, images(4, 3, 6))
    cores = [layer.core for layer in from_torch(model, (images(4, 3, 6),)).layers]
    assert [core.keeps_cell for core in cores if isinstance(core, Recurrent)] == [False]


def test_one_sequence_without_a_batch() -> None:
    for kind in KINDS:
        agree(network(kind, 6, 10), images(5, 6))


class Tagger(nn.Module):
    """Convolution, LSTM and classifier, at a batch that fills the lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.network = network(nn.LSTM, 8, 12, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, value: Tensor) -> Tensor:
        outputs, _ = self.network(self.conv(value).relu().transpose(1, 2))
        return self.head(outputs).softmax(-1)


@pytest.mark.parametrize("batch", [1, 16])
def test_between_other_layers(batch: int) -> None:
    torch.manual_seed(0)
    compiled = agree(Tagger().eval(), images(batch, 4, 9))
    assert "recurrent" in kinds(compiled)


def test_the_products_of_all_steps_are_one_linear_layer() -> None:
    graph = from_torch(network(nn.LSTM, 5, 16), (images(4, 2, 5),))
    (layer,) = (layer for layer in graph.layers if isinstance(layer.core, Linear))
    assert layer.shape == (2, 4, 64)


@pytest.mark.parametrize(("density", "core"), [(0.1, Conv2d), (1.0, Linear)])
def test_products_of_many_steps_are_transposed_where_zeros_pay_for_it(density: float, core: type) -> None:
    model = network(nn.LSTM, 32, 16, batch_first=True, density=density)
    agree(model, images(3, 20, 32))
    graph = from_torch(model, (images(3, 20, 32),))
    assert [type(layer.core) for layer in graph.layers if isinstance(layer.core, Conv2d | Linear)] == [core]


def test_few_weights_are_looked_up_where_the_cpu_can() -> None:
    for target, found in (("znver4", "lookups"), ("haswell", "dense")):
        model = network(nn.GRU, 4, 128, density=0.1)
        graph = from_torch(model, (images(2, 1, 4),))
        plan = plan_graph(graph, threads=1, target=parse_target(target, elsewhere=True))
        kernels = [build_kernel(layer, plan.context) for layer in plan.graph.layers]
        assert [kernel.format for kernel in kernels if kernel.kind == "recurrent"] == [found]


def test_what_torch_computes() -> None:
    projected = network(nn.LSTM, 5, 8, proj_size=4)
    with pytest.warns(UserWarning, match="aten.lstm.input"):
        compiled = agree(projected, images(3, 2, 5))
    assert kinds(compiled) == {"torch"}
    with pytest.raises(UnsupportedOperatorError, match="projections"):
        sparsegen.compile(projected, (images(3, 2, 5),), fallback="error")
