"""torch.compile with our backend: torch's results, whatever is done to weights and shapes between calls."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.utils import prune

from sparsegen import torch_backend
from sparsegen.errors import ModelError, OptionError, ToolchainError, UnsupportedOperatorError
from sparsegen.torch_backend import compilation, report

pytestmark = pytest.mark.filterwarnings("ignore:torch itself computes")


class Net(nn.Module):
    """A convolution with batch norm, and a classifier; a dict is its result."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.features(x).mean((2, 3))
        return {"scores": self.head(y), "features": y}


class Small(nn.Module):
    """One linear layer, and what a test does besides."""

    def __init__(self, after: Callable[[Tensor], Any] = torch.relu, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(6, 5)
        self.after = after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.layer(x))


X = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    with torch.no_grad():
        yield
    torch._dynamo.reset()


def ours(model: Any, dynamic: bool | None = None, fullgraph: bool = True, **options: Any) -> Any:
    """The model compiled; what cannot be is an error unless a test says otherwise."""
    options = {"threads": 1, "fallback": "error", **options}
    return torch.compile(model, backend="sparsegen", dynamic=dynamic, fullgraph=fullgraph, options=options)


def agree(compiled: Any, model: nn.Module, *inputs: Any) -> None:
    torch.testing.assert_close(compiled(*inputs), model(*inputs), rtol=1e-4, atol=1e-5)


def called(compiled: Any, *inputs: Any, times: int = 2) -> Any:
    """The last result of some calls."""
    return [compiled(*inputs) for _ in range(times)][-1]


def compilations() -> list[torch_backend.Compilation]:
    return [each for graph in report() for each in graph.compilations]


def test_the_entry_point_is_the_backend() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["torch_dynamo_backends"]["sparsegen"].partition(":")
    assert getattr(import_module(module), name) is torch_backend.sparsegen_backend
    torch_backend.register()  # again is no error
    assert "sparsegen" in torch._dynamo.list_backends(exclude_tags=())


def test_results_are_torchs_in_their_structure() -> None:
    model = Net().eval()
    compiled = ours(model)
    agree(compiled, model, IMAGE)
    first = compiled(IMAGE)["scores"]
    kept = first.clone()
    compiled(IMAGE + 1)
    assert torch.equal(first, kept)  # no later call writes to a result


def test_what_is_written_to_weights_counts() -> None:
    model = Small().eval()
    compiled = ours(model)
    agree(compiled, model, X)
    model.layer.weight[0] *= 2
    agree(compiled, model, X)
    model.load_state_dict(Small(seed=3).state_dict())
    agree(compiled, model, X)
    model.layer.weight.data = torch.ones(5, 6)
    agree(compiled, model, X)
    model.layer.bias = nn.Parameter(torch.arange(5.0))
    agree(compiled, model, X)
    assert len(compilations()) == 5


def test_writes_that_torch_does_not_count_need_a_word() -> None:
    model = Small().eval()
    compiled = ours(model)
    agree(compiled, model, X)
    model.layer.weight.data.mul_(2)
    torch_backend.refresh()
    agree(compiled, model, X)


def test_batch_statistics_are_weights_too() -> None:
    model = Net().eval()
    compiled = ours(model)
    agree(compiled, model, IMAGE)
    model.features[1].running_mean.add_(1)
    agree(compiled, model, IMAGE)


def test_modules_of_one_class_have_their_own_weights() -> None:
    models = [Small(seed=seed).eval() for seed in range(3)]
    compiled = [ours(model) for model in models]
    for _ in range(2):
        for one, model in zip(compiled, models, strict=True):
            agree(one, model, X)
    assert len(compilations()) == 3


def test_masks_live() -> None:
    model = Small().eval()
    prune.l1_unstructured(model.layer, "weight", 0.5)
    compiled = ours(model)
    agree(compiled, model, X)
    density = compilations()[0].layers[0].density
    assert density == 0.5
    model.layer.weight_mask[:, :3] = 0
    agree(compiled, model, X)
    assert compilations()[-1].layers[0].density < density


@pytest.mark.parametrize("dynamic", [None, True])
def test_shapes_may_change(dynamic: bool | None) -> None:
    model = Net().eval()
    compiled = ours(model, dynamic=dynamic)
    for batch, size in ((2, 8), (3, 9), (2, 8), (3, 9)):
        agree(compiled, model, torch.randn(batch, 3, size, 7))
    shapes = [each.shapes for each in compilations()]
    assert shapes[:2] == [((2, 3, 8, 7),), ((3, 3, 9, 7),)]
    assert len(shapes) == (2 if dynamic else 3)  # Dynamo tries the dynamic graph first, once it is there
    assert len(report()) == (1 if dynamic else 2)  # Dynamo's static graph, and its one dynamic


def test_sizes_are_numbers() -> None:
    model = Small(lambda y: (y.reshape(y.shape[0] * 5) * y.shape[0]).sum() + torch.zeros(y.shape[0])).eval()
    compiled = ours(model, dynamic=True)
    for rows in (2, 5):
        agree(compiled, model, torch.randn(rows, 6))


def test_numbers_of_the_caller_are_part_of_the_graph() -> None:
    class Scaled(Small):
        def forward(self, x: Tensor, by: float) -> Tensor:  # type: ignore[override]
            return self.layer(x) * by

    model = Scaled().eval()
    compiled = ours(model, dynamic=True)
    for by in (1.5, 2.5, 1.5):
        agree(compiled, model, X, by)
    assert len(compilations()) == 2


def test_a_parameter_that_is_given_is_no_weight() -> None:
    model = Small().eval()
    compiled = ours(model)
    for _ in range(2):
        agree(compiled, model, nn.Parameter(torch.randn(2, 6)))
    assert len(compilations()) == 1


def test_modules_may_have_names_of_torchs() -> None:
    model = Small().eval()
    model.graph = model.layer
    model.forward = lambda x: model.graph(x)  # type: ignore[method-assign]
    agree(ours(model.forward), model, X)


def test_no_more_than_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_backend.dispatch, "MOST_KEPT", 2)
    model = Small().eval()
    compiled = ours(model, dynamic=True)
    for rows in (2, 3, 4, 2, 2):
        agree(compiled, model, torch.randn(rows, 6))
    assert [each.shapes[0][0] for each in compilations()] == [2, 3, 4, 2]


def test_graph_breaks_make_several() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Small().eval(), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            torch._dynamo.graph_break()
            return self.second(y)

    model = Broken().eval()
    agree(ours(model, fullgraph=False), model, X)
    assert len(report()) == 2
    assert not any(each.reason for each in compilations())


def test_training_is_torchs() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    compiled = ours(model, fallback="torch")
    with pytest.warns(UserWarning, match="batch_norm is in training mode: call model.eval") as warned:
        called(compiled, IMAGE)
    assert len(warned) == 1
    assert model[1].num_batches_tracked == 2
    (graph,) = report()
    assert list(graph.fallbacks.values()) == [2]


def test_dropout_alone_is_training() -> None:
    def attention(dropout: float) -> Any:
        split = nn.functional.scaled_dot_product_attention
        return lambda y: split(y.view(1, 2, 5), y.view(1, 2, 5), y.view(1, 2, 5), dropout_p=dropout)

    agree(ours(Small(attention(0.0)).eval()), Small(attention(0.0)).eval(), X)
    with pytest.raises(ModelError, match=r"dropout of 0\.5"):
        ours(Small(attention(0.5)).eval())(X)
    heads = nn.MultiheadAttention(6, 2, dropout=0.1).eval()
    model = Small(lambda y: y)
    model.forward = lambda x: heads(x, x, x, need_weights=False)[0]  # type: ignore[method-assign]
    agree(ours(model.forward), model, X)


def test_gradients_are_torchs() -> None:
    model = Small().eval()
    compiled = ours(model, fallback="torch")
    with torch.enable_grad():
        with pytest.warns(UserWarning, match="gradients are recorded") as warned:
            result = called(compiled, X)
        assert len(warned) == 1
        result.sum().backward()
        given = model.layer.weight.grad
        model.zero_grad()
        model(X).sum().backward()
    assert torch.allclose(given, model.layer.weight.grad)
    assert not compilations()
    with torch.inference_mode():
        agree(compiled, model, X)
    assert len(compilations()) == 1


def test_gradients_without_any_weight_that_has_one_are_no_reason() -> None:
    model = Small().eval().requires_grad_(False)
    with torch.enable_grad():
        agree(ours(model), model, X)


def test_autocast_is_torchs() -> None:
    model = Small().eval()
    compiled = ours(model, fallback="torch")
    with torch.autocast("cpu"), pytest.warns(UserWarning, match="autocast is on"):
        assert compiled(X).dtype == torch.bfloat16
    assert compiled(X).dtype == torch.float32
    assert len(compilations()) == 1


def test_shared_memory_stays_shared() -> None:
    model = Small(lambda y: y).eval()
    model.forward = lambda x: (x.view(3, 4), model.layer(x))  # type: ignore[method-assign]
    compiled = ours(model.forward, fallback="torch")
    x = X.clone()
    with pytest.warns(UserWarning, match="shares memory"):
        view, _ = compiled(x)
    view.zero_()
    assert not x.any()


def test_strange_options_are_told() -> None:
    for options, told in (
        ({"thread": 1}, "no option 'thread': choose of threads, target, .*fallback.*cache_dir"),
        ({"batches": [1]}, "no option 'batches'; shapes come from the calls"),
        ({"fallback": "eager"}, "fallback is 'eager': choose of torch, inductor, error"),
        ({"threads": 0}, "threads is 0"),
    ):
        torch._dynamo.reset()
        with pytest.raises(OptionError, match=told):
            torch.compile(Small().eval(), backend="sparsegen", options=options)(X)
    with pytest.raises(OptionError, match="modes are inductor's"):
        torch.compile(nn.Linear(6, 1).eval(), backend="sparsegen", mode="reduce-overhead")(X)


def _complex(y: Tensor) -> Tensor:
    return torch.fft.fft(y).abs()


def test_what_cannot_be_compiled_runs_in_torch() -> None:
    model = Small(_complex).eval()
    compiled = ours(model, fallback="torch")
    with pytest.warns(UserWarning, match="fft_fft") as warned:
        result = called(compiled, X)
    assert sum("fft_fft" in str(each.message) for each in warned) == 1
    torch.testing.assert_close(result, model(X))
    assert "fft_fft" in compilations()[0].reason
    assert counters["sparsegen"]["not compiled"] == 1


def test_what_cannot_be_compiled_runs_in_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[Any]] = []

    def inductor(graph: Any, inputs: list[Any]) -> Any:
        taken.append([tuple(each.shape) for each in inputs])
        return graph

    monkeypatch.setattr(torch_backend.fallbacks, "lookup_backend", lambda name: {"inductor": inductor}[name])
    model = Small(_complex).eval()
    compiled = ours(model, fallback="inductor", dynamic=True)
    with pytest.warns(UserWarning, match="in inductor"):
        agree(compiled, model, X)
    for rows in (3, 2):
        agree(compiled, model, torch.randn(rows, 6))
    assert [sorted(each) for each in taken] == [[(2, 6), (5,), (5, 6)], [(3, 6), (5,), (5, 6)]]


def test_what_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="fft_fft"):
        ours(Small(_complex).eval())(X)
    model = Small().eval()
    with torch.enable_grad(), pytest.raises(ModelError, match=r"gradients are recorded.*fallback"):
        ours(model)(X)


def test_our_own_fault_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ToolchainError("a fault of ours")

    monkeypatch.setattr(compilation, "compile", fails)
    with pytest.raises(ToolchainError, match="a fault of ours"):
        ours(Small().eval(), fallback="torch")(X)

    monkeypatch.setattr(compilation, "compile", lambda *_, **__: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ours(Small().eval(), fallback="torch")(X)


def test_threads_call_at_once() -> None:
    model = Small().eval()
    compiled = ours(model, dynamic=True)
    for rows in (2, 3):
        compiled(torch.randn(rows, 6))

    def call(number: int) -> None:
        with torch.no_grad():
            agree(compiled, model, torch.randn(2 + number % 2, 6))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(40)))
    assert [each.shapes[0][0] for each in compilations()] == [2, 3]


def test_threads_share_a_compilation() -> None:
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(torch_backend.sparsegen_backend(graph, inputs, options={"threads": 1}))
        return graphs[0]

    model = Small().eval().requires_grad_(False)
    expected = torch.compile(model, backend=backend)(X)
    (made,) = report()
    assert len(made.compilations) == 1
    torch_backend.refresh()
    arguments = [model.layer.weight, model.layer.bias, X]
    with ThreadPoolExecutor(4) as pool:
        for (result,) in pool.map(lambda _: graphs[0](*arguments), range(8)):
            assert torch.equal(result, expected)
    assert len(compilations()) == 2


def test_reports_tell_what_ran_where() -> None:
    model = Small(lambda y: torch.cumsum(y, 1)).eval()
    compiled = ours(model, fallback="torch")
    agree(compiled, model, X)
    (graph,) = report()
    (made,) = graph.compilations
    assert made.shapes == ((2, 6),)
    assert made.layers[0].name == "layer"
    assert made.torch == {"aten.cumsum.default": 1}
    assert "2x6: compiled" in str(graph)
    assert "aten.cumsum.default" in str(graph)
    assert counters["sparsegen"] == {"graphs": 1, "compiled": 1}
    torch._dynamo.reset()
    assert report() == ()


def test_what_was_compiled_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    model = Net().eval()
    first = ours(model, cache_dir=folder)(IMAGE)
    torch._dynamo.reset()
    # As in a second process: neither torch.export nor kernels are needed.
    monkeypatch.setattr(compilation, "compile", lambda *_, **__: pytest.fail("compiled again"))
    again = ours(Net().eval(), cache_dir=folder)(IMAGE)
    assert torch.equal(again["scores"], first["scores"])
    assert [each.cached for each in compilations()] == [True]
    assert counters["sparsegen"]["found in the cache"] == 1
    monkeypatch.undo()
    agree(ours(Net(seed=1).eval(), cache_dir=folder), Net(seed=1).eval(), IMAGE)
    assert [each.cached for each in compilations()] == [True, False]


def test_weights_of_inference_mode_are_not_watched() -> None:
    with torch.inference_mode():
        model = Small().eval()
    with torch.inference_mode(), pytest.warns(UserWarning, match="made in inference mode"):
        agree(ours(model, fallback="torch"), model, X)
