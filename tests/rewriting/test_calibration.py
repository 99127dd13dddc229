"""Calibration inputs: read, refused, and what values lie in on them; the error budget end to end."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sparsegen.devices import Estimate, Operator
from sparsegen.errors import RewritingError
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from sparsegen.rewriting.accuracy import Reference
from sparsegen.rewriting.budget import within
from sparsegen.rewriting.calibration import intervals_on, load_calibration, ranges_on, widened
from sparsegen.rewriting.rewrite import Rewritten, rewrite
from tests.rewriting.rewritings import allowing


class Two(nn.Module):
    """A sum of two inputs, through a gate."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x + 2 * y) * 3


TWO = from_torch(Two().eval(), (torch.ones(2, 4), torch.ones(2, 4)))


@functools.cache
def network() -> LayerGraph:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 5))
    return from_torch(layers.eval(), (torch.ones(2, 6),))


def saved(path: Path, found: Any) -> Path:
    np.save(path, found) if isinstance(found, np.ndarray) else np.savez(path, **found)
    return path


def test_an_array_is_cut_into_calls(tmp_path: Path) -> None:
    rows = np.arange(42, dtype=np.float64).reshape(7, 6)
    calls = load_calibration(saved(tmp_path / "c.npy", rows), network())
    assert [tuple(x.shape) for (x,) in calls] == [(2, 6)] * 3
    assert torch.equal(calls[2][0], torch.from_numpy(rows[4:6]).float())


def test_arrays_by_name(tmp_path: Path) -> None:
    x, y = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    calls = load_calibration(saved(tmp_path / "c.npz", {"y": y, "x": x}), TWO)
    assert [(a.max().item(), b.min().item()) for a, b in calls] == [(0.0, 1.0)] * 2


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.zeros((4, 5), np.float32), r"has the shape \(4, 5\)"),
        (np.zeros((1, 6), np.float32), "has 1 rows; one call takes 2"),
        (np.zeros((4, 6), np.int64), "is int64; the model takes float32"),
        (np.full((4, 6), np.nan, np.float32), "NaN or infinity"),
        (np.array([{"a": 1}], object), "pickled objects are never read"),
        ({"z": np.zeros((4, 6), np.float32)}, "has arrays z; the model's inputs are"),
    ],
)
def test_bad_files(found: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / ("c.npz" if isinstance(found, dict) else "c.npy")
    if isinstance(found, np.ndarray) and found.dtype == object:
        np.save(path, found, allow_pickle=True)
    else:
        saved(path, found)
    with pytest.raises(RewritingError, match=message):
        load_calibration(path, network())


def test_what_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npy"
    path.write_text("text")
    with pytest.raises(
        RewritingError, match=r"cannot be read as .*: it is broken, or of another kind"
    ) as refused:
        load_calibration(path, network())
    assert "unsafe" not in str(refused.value)  # as numpy advises
    with pytest.raises(RewritingError, match=r"cannot be read as .*: no such file"):
        load_calibration(tmp_path / "missing.npy", network())
    with pytest.raises(RewritingError, match=r"give an \.npz"):
        load_calibration(saved(path, np.zeros((2, 4), np.float32)), TWO)


def test_values_between_steps_have_intervals() -> None:
    x = torch.tensor([[-1.0, 0.0, 1.0, 2.0]] * 2)
    found = ranges_on(TWO, [(x, x), (x * 0.5, x * 0)])
    (layer,) = [each for each in TWO.layers if any(step.op == "sigmoid" for step in each.epilogue)]
    assert found["x"] == found["y"] == (-1.0, 2.0)
    before = layer.epilogue.index(next(step for step in layer.epilogue if step.op == "sigmoid")) - 1
    assert found[f"{layer.name}:{before}"] == (-3.0, 6.0)
    assert found[layer.name] == pytest.approx((3 / (1 + math.exp(3)), 3 / (1 + math.exp(-6))))


def test_other_inputs_may_go_a_little_beyond() -> None:
    x = torch.tensor([[-1.0, 0.0, 1.0, 2.0]] * 2)
    found = intervals_on(TWO, [(x, x)])
    (layer,) = [each for each in TWO.layers if any(step.op == "sigmoid" for step in each.epilogue)]
    at = next(number for number, step in enumerate(layer.epilogue) if step.op == "sigmoid")
    assert found["x"] == pytest.approx((-1.3, 2.3))
    assert found[f"{layer.name}:{at - 1}"] == pytest.approx((-3.9, 6.9))
    assert found[f"{layer.name}:{at}"][1] == 1.0  # whatever its input is
    assert widened((0.0, 4.0)) == pytest.approx((0.0, 4.4))
    assert widened((0.2, 4.2)) == pytest.approx((0.1, 4.6))
    assert widened((-4.2, -0.2)) == pytest.approx((-4.6, -0.1))
    assert widened((3.0, 3.0)) == (3.0, 3.0)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RewritingError, match="becomes NaN or infinite"):
        intervals_on(TWO, [(torch.full((2, 4), math.inf), torch.full((2, 4), -math.inf))])


def by_work(operator: Operator) -> Estimate:
    allowed = allowing("linear", "conv", "depthwise_conv", "grouped_conv", "relu", "reshape")(operator)
    seconds = 0.0 if operator.kind == "view" else 1e-9 * (operator.multiply_adds + operator.written)
    return Estimate(seconds, 0, 0, 0, reason=allowed.reason)


@pytest.fixture
def few_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors that are quickly fitted, and ways that are quickly found."""
    monkeypatch.setattr("sparsegen.rewriting.budget.ERRORS", (0.1, 0.03, 0.01))
    monkeypatch.setattr("sparsegen.rewriting.search._DEEPEST", 3)


@pytest.mark.usefixtures("few_errors")
@pytest.mark.parametrize("end_to_end", [0.03])
def test_a_budget_holds_and_is_used(end_to_end: float) -> None:
    graph, generator = network(), torch.Generator().manual_seed(1)
    calls = [(torch.randn(2, 6, generator=generator),) for _ in range(16)]
    reference, intervals = Reference(graph, calls), intervals_on(graph, calls)
    found = within(graph, by_work, reference, end_to_end, intervals=intervals)
    assert not found.rewritten.unsupported
    assert found.accuracy.error <= end_to_end
    assert found.accuracy == reference.accuracy(found.rewritten.graph)
    looser = within(graph, by_work, reference, 10 * end_to_end, intervals=intervals)
    assert sum(looser.rewritten.seconds.values()) <= sum(found.rewritten.seconds.values())


@pytest.mark.usefixtures("few_errors")
def test_no_smaller_error_than_it_takes_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, tried = network(), list[dict[str, float]]()
    calls = [(torch.randn(2, 6, generator=torch.Generator().manual_seed(1)),)]

    def counted(*arguments: Any, max_error: dict[str, float], **options: Any) -> Rewritten:
        tried.append(dict(max_error))
        return rewrite(*arguments, max_error=max_error, **options)

    monkeypatch.setattr("sparsegen.rewriting.budget.rewrite", counted)
    found = within(graph, by_work, Reference(graph, calls), 0.1, intervals=intervals_on(graph, calls))
    assert min(error for errors in tried for error in errors.values()) == min(found.errors.values()) > 0.01
    assert all(tried.count(errors) == 1 for errors in tried)


@pytest.mark.usefixtures("few_errors")
def test_a_budget_that_nothing_keeps_is_refused() -> None:
    graph = network()
    calls = [(torch.ones(2, 6),)]
    with pytest.raises(RewritingError, match="even where every operator errs"):
        within(graph, by_work, Reference(graph, calls), 1e-12, intervals=intervals_on(graph, calls))


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 3, 5)])
def test_agreement_is_along_channels_or_the_last_dimension(
    shape: tuple[int, ...],
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    dim = 1 if len(shape) == 4 else 2
    doubled, negative = (from_torch(Scaled(factor), (x,)) for factor in (2.0, -1.0))
    reference = Reference(doubled, [(x,)])
    same, turned = reference.accuracy(doubled), reference.accuracy(negative)
    assert (same.agreement, same.rows) == (1.0, x.numel() // 5)
    assert turned.agreement == 0.0
    assert turned.rows == x.argmax(dim).numel()


class Scaled(nn.Module):
    """Its input, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x
