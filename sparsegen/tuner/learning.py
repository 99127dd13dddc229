"""What the cost model learns from: this run's trials, and those of other machines, versions and layers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sparsegen.database.trial import Trial
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import SparsegenError
from sparsegen.tuner.cost_model import FEATURES_VERSION, Features, Sample, relative
from sparsegen.tuner.state import TaskState

_FAILED = 3.0  # log2 of a failure's time over the default's: slow enough to be avoided

Key = tuple[Workload, Setting, str]


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
