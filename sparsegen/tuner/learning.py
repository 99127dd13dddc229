"""What the cost model learns from, this run's trials and those of other machines and layers, and when."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsegen.database.trial import Trial
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import SparsegenError
from sparsegen.tuner.cost_model import FEATURES_VERSION, CostModel, Features, Sample, fit, relative
from sparsegen.tuner.state import TaskState

_FAILED = 3.0  # log2 of a failure's time over the default's: slow enough to be avoided
_NEWS = 0.05  # share of new trials that is worth another fit: a fit takes as long as there are trials
_CHOOSE_AGAIN = 1.5  # times as many samples, and the model's objective is chosen again

Key = tuple[Workload, Setting, str]


class Learner:
    """The cost model of a run, `None` until there is enough to learn from, and saved at `path`.

    It learns from the trials of other runs and settings, `others`, and from the run's own. A fit is worth its
    time once there are 5 % more trials: fits then take a share of a run that does not grow with its length.
    """

    def __init__(
        self, states: Mapping[Workload, TaskState], others: Sequence[Trial], *, seed: int, path: Path
    ) -> None:
        self.model: CostModel | None = None
        self._states, self._others, self._seed, self._path = states, others, seed, path
        self._fitted_to = 0  # trials
        self._chosen_at = 0  # samples when the model's objective was chosen

    def learn(self, own: Sequence[Trial]) -> None:
        """Fit the model anew, if there is enough news in the run's own trials."""
        trials = len(self._others) + len(own)
        if self.model is not None and trials < (1 + _NEWS) * self._fitted_to:
            return
        samples = samples_of([*self._others, *own], self._states)
        again = self.model is None or len(samples) >= _CHOOSE_AGAIN * self._chosen_at
        objective = None if again or self.model is None else self.model.objective
        fitted = fit(samples, seed=self._seed, objective=objective)
        if fitted is None:
            return
        if again:
            self._chosen_at = len(samples)
        self.model, self._fitted_to = fitted, trials
        fitted.save(self._path)


def model_path(journal: Path) -> Path:
    """Where the cost model of a journal is saved: beside it."""
    return journal.with_suffix(".model.json")


def samples_of(trials: Sequence[Trial], states: Mapping[Workload, TaskState]) -> list[Sample]:
    """Samples of all trials whose features are known or can be worked out again.

    Features of another version are worked out anew where the workload is at hand, in `states`; of other
    workloads' the names that still exist are taken, and the others count as missing.
    """
    groups: dict[Key, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.workload, trial.setting, trial.kernel].append(trial)
    samples = []
    for group, members in enumerate(groups.values()):
        reference = _reference(members)
        if reference is None:
            continue
        base = features_of(reference, states)
        for trial in members:
            target = math.log2(trial.median_ms / reference.median_ms) if trial.status == "ok" else _FAILED
            if trial.status != "lost":  # which tells of a machine, not of the schedule
                samples.append(Sample(group, relative(features_of(trial, states), base), target))
    return samples


def features_of(trial: Trial, states: Mapping[Workload, TaskState]) -> Features:
    """A trial's features: as recorded, or worked out again if those are of another version."""
    if trial.features_version == FEATURES_VERSION:
        return trial.features
    state = states.get(trial.workload)
    if state is not None:
        try:
            return dict(state.features(state.task.space.read(trial.schedule)))
        except SparsegenError:
            pass
    return trial.features


def _reference(trials: Sequence[Trial]) -> Trial | None:
    """The trial that a group's times are compared with: the default's, else the first that succeeded."""
    succeeded = [trial for trial in trials if trial.status == "ok"]
    defaults = [trial for trial in succeeded if trial.origin == "default"]
    return next(iter(defaults or succeeded), None)
