"""Gradual pruning: a schedule of sparsities, and the object that a training loop steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsegen.errors import PruningError
from sparsegen.pruning.masks import PrunedLayer, masked_copy, trial
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import parse_structure

Prune = Callable[[Model, float], tuple[PrunedLayer, ...]]
"""Prunes a model, in place, to a sparsity."""


@dataclass(frozen=True, kw_only=True)
class CubicSchedule:
    """Sparsity by training step: fast at first, while many weights are redundant, then ever slower.

    At step t it is final + (initial - final) * (1 - (t - begin) / (end - begin)) ** 3, `initial` up to
    `begin` and `final` from `end` on (Zhu and Gupta, To prune, or not to prune, 2017). Pruning is due every
    `every` steps from `begin`, and at `end`.

    Raises PruningError unless 0 <= initial <= final < 1, 0 <= begin < end and every >= 1.
    """

    final: float
    initial: float = 0.0
    begin: int = 0
    end: int
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.final < 1:
            raise PruningError(
                f"the schedule goes from sparsity {self.initial} to {self.final}: give "
                "0 <= initial <= final < 1"
            )
        if not 0 <= self.begin < self.end:
            raise PruningError(
                f"the schedule goes from step {self.begin} to {self.end}: give 0 <= begin < end"
            )
        if self.every < 1:
            raise PruningError(f"the schedule prunes every {self.every} steps: give at least 1")

    def sparsity(self, step: int) -> float:
        """The sparsity at a training step."""
        progress = min(max((step - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.final + (self.initial - self.final) * (1 - progress) ** 3

    def due(self, step: int) -> bool:
        """Whether to prune at a training step."""
        within = self.begin <= step <= self.end
        return within and ((step - self.begin) % self.every == 0 or step == self.end)

    @property
    def ends(self) -> tuple[float, ...]:
        """The first sparsity above 0 that is due, and the last."""
        found = (self.sparsity(step) for step in range(self.begin, self.end + 1) if self.due(step))
        first = next((sparsity for sparsity in found if sparsity), self.final)
        return tuple(dict.fromkeys(sparsity for sparsity in (first, self.final) if sparsity))


class GradualPruning:
    """Prunes a model further and further while it trains.

    Call `step` once a training step, before its forward pass; the first call is step 0:

        pruning = GradualPruning(model, "kernel:4", CubicSchedule(final=0.88, end=1000, every=50))
        for images, labels in batches:
            pruning.step()
            ...  # forward, backward, optimiser

    `method` is a structure's text, as in `sparsegen.pruning.prune`, of any sparsity; or any callable of a
    model and a sparsity, such as `lambda model, sparsity: column_combine(model, sparsity=sparsity, group=4)`:
    that is the paper's iteration of prune, group, conflict-prune and retrain, and may end sparser than the
    schedule. What is pruned stays so from step to step. Train on after `end`, then `finalize`.

    The schedule's first and last sparsities are tried on a copy of the model at once, so that what cannot be
    is an error before the training, and not in its midst. (A model that copy.deepcopy cannot copy is not
    tried.) Raises PruningError where the method does.
    """

    def __init__(self, model: Model, method: str | Prune, schedule: CubicSchedule) -> None:
        self._model = model
        self._method = _of_structure(method, schedule) if isinstance(method, str) else method
        self._schedule = schedule
        self._steps = 0
        self._try_ends()

    def step(self) -> tuple[PrunedLayer, ...]:
        """Count a training step, and prune if it is due.

        Returns what the method does; () where nothing was due or the schedule still says 0.
        """
        step, self._steps = self._steps, self._steps + 1
        sparsity = self._schedule.sparsity(step)
        return self._method(self._model, sparsity) if sparsity and self._schedule.due(step) else ()

    def _try_ends(self) -> None:
        """Prune a copy as the schedule begins and ends."""
        copy = masked_copy(self._model)
        if copy is not None:
            with trial():
                for sparsity in self._schedule.ends:
                    self._method(copy, sparsity)


def _of_structure(text: str, schedule: CubicSchedule) -> Prune:
    """The method that makes a structure of any sparsity. Raises PruningError for one of a single sparsity."""
    for sparsity in schedule.ends:
        parse_structure(text, sparsity=sparsity)

    def prune(model: Model, sparsity: float) -> tuple[PrunedLayer, ...]:
        return parse_structure(text, sparsity=sparsity).prune(model)

    return prune
