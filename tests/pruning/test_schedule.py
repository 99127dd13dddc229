"""Gradual pruning: the cubic schedule, and the object that a training loop steps."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsegen.errors import SparsegenError
from sparsegen.pruning import (
    CubicSchedule,
    GradualPruning,
    PrunedLayer,
    budget,
    column_combine,
    kernel,
    magnitude,
    vector,
)
from sparsegen.pruning.prunable import Model
from tests.pruning.networks import images, network, weight_of


@st.composite
def schedules(draw: st.DrawFn) -> CubicSchedule:
    initial, final = sorted((draw(st.floats(0, 0.99)), draw(st.floats(0, 0.99))))
    begin = draw(st.integers(0, 20))
    end = begin + draw(st.integers(1, 50))
    return CubicSchedule(initial=initial, final=final, begin=begin, end=end, every=draw(st.integers(1, 60)))


@given(schedules())
def test_from_initial_to_final_and_never_back(schedule: CubicSchedule) -> None:
    sparsities = [schedule.sparsity(step) for step in range(schedule.end + 10)]
    assert sparsities[: schedule.begin + 1] == pytest.approx([schedule.initial] * (schedule.begin + 1))
    assert sparsities[schedule.end :] == [schedule.final] * 10
    assert all(one <= other + 1e-12 for one, other in itertools.pairwise(sparsities))


@given(schedules())
def test_due_every_so_often_from_begin_and_at_the_end(schedule: CubicSchedule) -> None:
    due = [step for step in range(schedule.end + 100) if schedule.due(step)]
    expected = [*range(schedule.begin, schedule.end, schedule.every), schedule.end]
    assert due == expected


def test_the_formula() -> None:
    schedule = CubicSchedule(initial=0.2, final=0.8, begin=10, end=20)
    assert schedule.sparsity(15) == pytest.approx(0.8 - 0.6 * 0.5**3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"final": 1.0, "end": 5}, "give 0 <= initial <= final < 1"),
        ({"final": 0.5, "initial": 0.6, "end": 5}, "give 0 <= initial <= final < 1"),
        ({"final": 0.5, "initial": -0.1, "end": 5}, "give 0 <= initial <= final < 1"),
        ({"final": 0.5, "begin": 5, "end": 5}, "from step 5 to 5: give 0 <= begin < end"),
        ({"final": 0.5, "begin": -1, "end": 5}, "give 0 <= begin < end"),
        ({"final": 0.5, "end": 5, "every": 0}, "every 0 steps: give at least 1"),
    ],
)
def test_schedules_that_cannot_be(options: dict[str, float], message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        CubicSchedule(**options)  # type: ignore[arg-type]


def train_step(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    model(images()).square().mean().backward()
    optimiser.step()


def test_a_training_loop_prunes_when_due() -> None:
    model = network()
    schedule = CubicSchedule(final=0.75, begin=1, end=6, every=2)
    pruning = GradualPruning(model, lambda model, sparsity: magnitude(model, sparsity=sparsity), schedule)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(9):
        layers = pruning.step()
        found.append(layers[0].sparsity if layers else None)
        train_step(model, optimiser)
    # Due at 1, where the schedule still says 0, at 3, 5 and, the last, 6.
    assert [step for step, sparsity in enumerate(found) if sparsity is not None] == [3, 5, 6]
    for step in (3, 5, 6):
        assert found[step] == pytest.approx(schedule.sparsity(step), abs=1 / 864)
    assert float((weight_of(model, "wide") == 0).double().mean()) == 0.75


@pytest.mark.parametrize("method", ["greedy", "annealing"])
def test_columns_are_combined_step_by_step(method: str) -> None:
    model = network()

    def prune(model: Model, sparsity: float) -> tuple[PrunedLayer, ...]:
        return column_combine(model, sparsity=sparsity, method=method)  # type: ignore[arg-type]

    pruning = GradualPruning(model, prune, CubicSchedule(final=0.85, end=4, every=2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    layers: tuple[PrunedLayer, ...] = ()
    zeros = torch.zeros_like(weight_of(model, "wide"), dtype=torch.bool)
    for _ in range(5):
        layers = pruning.step() or layers
        assert (weight_of(model, "wide")[zeros] == 0).all()
        zeros = weight_of(model, "wide") == 0
        train_step(model, optimiser)
    wide, _ = layers
    assert wide.sparsity >= 0.85 - 1 / 864
    assert wide.detail["groups"] <= 72 / 3


def of_two_methods(model: Model, sparsity: float) -> tuple[PrunedLayer, ...]:
    """Vectors here and filters there: the first is pruned before the second refuses."""
    vectors = vector(model, sparsity=sparsity, skip=("stem", "narrow", "classifier"))
    return vectors + kernel(model, sparsity=sparsity, rows=64, skip=("stem", "wide", "classifier"))


def within_a_budget(model: Model, sparsity: float) -> tuple[PrunedLayer, ...]:
    """Filters by ratios, the last of which empties `wide`, of 8 groups of them."""
    ratio = (round(50 * (1 - sparsity)), 50)
    times = {name: {ratio: 1.0} for name in ("wide", "narrow")}
    return budget(model, times=times, budget=2.0, rows=64)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("method", ["kernel:64", of_two_methods, within_a_budget])
def test_a_step_that_would_empty_a_layer_is_refused_before_the_first(
    method: str | Callable[[Model, float], tuple[PrunedLayer, ...]], masked: bool
) -> None:
    model = network()
    if masked:
        magnitude(model, sparsity=0.1)
        model(images())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SparsegenError, match="takes them all"):
        GradualPruning(model, method, CubicSchedule(final=0.98, end=5))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernels", "structure is 'kernels': choose one of"),
        ("2:4", r"2:4 removes 0.5 of the weights, a sparsity of 0.4\d* was asked for"),
    ],
)
def test_structures_of_no_schedule(text: str, message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        GradualPruning(network(), text, CubicSchedule(final=0.5, end=2))


def test_structures_are_pruned_gradually_as_their_method_does() -> None:
    by_text, by_method = network(), network()
    schedule = CubicSchedule(final=0.75, end=3)
    one = GradualPruning(by_text, "kernel:2", schedule)
    other = GradualPruning(by_method, lambda model, share: kernel(model, sparsity=share, rows=2), schedule)
    for _ in range(4):
        one.step()
        other.step()
    assert torch.equal(weight_of(by_text, "wide"), weight_of(by_method, "wide"))
    assert float((weight_of(by_text, "wide") == 0).double().mean()) == 0.75


def test_a_model_that_cannot_be_copied_is_pruned_all_the_same() -> None:
    model = network()
    model.lock = threading.Lock()  # type: ignore[assignment]
    pruning = GradualPruning(model, "vector", CubicSchedule(final=0.5, end=1))
    pruning.step()
    assert pruning.step()[0].sparsity == 0.5


def test_the_ends_of_a_schedule() -> None:
    assert CubicSchedule(final=0.8, end=2).ends == pytest.approx((0.7, 0.8))
    assert CubicSchedule(initial=0.8, final=0.8, end=2).ends == (0.8,)
    assert CubicSchedule(final=0.0, end=2).ends == ()
