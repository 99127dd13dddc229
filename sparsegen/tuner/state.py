"""What is known of each workload while it is tuned, and which one the next trials go to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from sparsegen.database.trial import Trial
from sparsegen.errors import SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.tuner.cost_model import Features
from sparsegen.tuner.jobs import Task
from sparsegen.tuner.search import Sampler

_RECENT = 32  # trials whose gain tells what the next ones may gain
_HOPE = 0.2  # gain expected of a workload's first batch, less with the square of those before
_BATCH = 16  # trials that count as one in that
_GAIN = 0.005  # of the best time: less is noise
_TRIES = 3  # in a run, of a schedule that the machine loses again and again


class TaskState:
    """The trials of one workload so far; `earlier` ones are of runs before this one."""

    def __init__(self, task: Task, *, seed: int, earlier: Sequence[Trial] = ()) -> None:
        self.task = task
        self.sampler = Sampler(task.space, seed)
        self.tried: dict[KernelSchedule, float] = {}
        self.trials = 0
        self.failures = 0
        self.stopped = ""  # why it gets no more trials
        self._features: dict[KernelSchedule, Features] = {}
        self._best: list[float] = []  # after each trial
        self._last_gain = 0  # trials until the last gain
        self._lost: Counter[KernelSchedule] = Counter()  # trials of this run that told nothing
        self._told: set[KernelSchedule] = set()  # schedules of which a trial told something
        for trial in earlier:
            self.add(trial)
        self._lost.clear()  # what was short of memory then may have it now

    def add(self, trial: Trial) -> None:
        """Count a trial; a schedule that is no longer legal counts for the budget alone."""
        self.trials += 1
        self.failures += trial.status != "ok"
        before = self.best_ms
        try:
            schedule = self.task.space.read(trial.schedule)
        except SparsegenError:
            self._best.append(before)
            return
        if trial.inconclusive:
            self._lost[schedule] += 1
        else:
            self._told.add(schedule)
        self.tried[schedule] = min(trial.median_ms, self.tried.get(schedule, math.inf))
        now = min(before, trial.median_ms)
        if now < before * (1 - _GAIN):
            self._last_gain = self.trials
        self._best.append(now)

    def to_try(self, schedule: KernelSchedule) -> bool:
        """Whether a schedule is still to be measured: never tried, or lost, but not too often in this run."""
        return schedule not in self._told and self._lost[schedule] < _TRIES

    @property
    def best_ms(self) -> float:
        """The least median; infinite before the first success."""
        return self._best[-1] if self._best else math.inf

    @property
    def default_ms(self) -> float | None:
        """The default schedule's median, once it is known."""
        time = self.tried.get(self.task.space.default, math.inf)
        return time if time < math.inf else None

    @property
    def saved_ms(self) -> float:
        """Milliseconds a call of the model that the best schedule saves over the default; 0 where unknown."""
        if self.default_ms is None:
            return 0.0
        return len(self.task.layers) * (self.default_ms - self.best_ms)

    def fastest(self, count: int) -> list[KernelSchedule]:
        """The schedules with the least medians, failures left out."""
        ranked = sorted((time, i, schedule) for i, (schedule, time) in enumerate(self.tried.items()))
        return [schedule for time, _, schedule in ranked[:count] if time < math.inf]

    def features(self, schedule: KernelSchedule) -> Features:
        """What the schedule implies; worked out once."""
        if schedule not in self._features:
            self._features[schedule] = self.task.space.features(schedule)
        return self._features[schedule]

    def check_patience(self, patience: int) -> None:
        """Stop where the last `patience` trials gained nothing; 0 never stops."""
        if patience and self.trials - self._last_gain >= patience:
            self.stopped = f"no gain in {patience} trials"

    def expected_gain(self) -> float:
        """Milliseconds of the model's time that another batch may gain: a guess from the recent ones.

        A workload counts as often as it has layers. Before a trial of the default, which every gain is
        over, the gain is infinite.
        """
        if self.to_try(self.task.space.default):
            return math.inf
        if self.best_ms == math.inf:
            return 0.0
        earlier = self._best[max(0, len(self._best) - 1 - _RECENT)]
        recent = (earlier - self.best_ms) / self.best_ms if earlier < math.inf else _HOPE
        hope = _HOPE / (1 + self.trials / _BATCH) ** 2
        return len(self.task.layers) * self.best_ms * max(recent, hope)


def choose_task(states: Sequence[TaskState]) -> TaskState | None:
    """The workload with the most to gain; None where all have stopped."""
    going = [state for state in states if not state.stopped]
    return max(going, key=TaskState.expected_gain, default=None)
