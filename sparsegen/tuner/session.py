"""A tuning run from end to end: propose, measure, write down, learn; then the best few race."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sparsegen.database.journal import Journal, Log
from sparsegen.database.lookup import Database
from sparsegen.database.trial import Race, Trial
from sparsegen.database.tuned import Tuned, best_of
from sparsegen.database.workload import Workload
from sparsegen.errors import SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.tuner.budget import Clock
from sparsegen.tuner.cost_model import ESTIMATE, FEATURES_VERSION, relative
from sparsegen.tuner.jobs import Task
from sparsegen.tuner.learning import Learner, model_path
from sparsegen.tuner.measure.measurement import Measurement, Measurer
from sparsegen.tuner.options import TuneOptions
from sparsegen.tuner.racing import RACE_S, in_order, racers_of
from sparsegen.tuner.search import SEARCHES, Proposal
from sparsegen.tuner.state import TaskState, choose_task
from sparsegen.tuner.view import Progress, TaskProgress

_BATCH = 16  # schedules proposed at a time
_PRIORS = 4  # schedules of other workloads or machines that are tried early
_MOST_RACING = 0.2  # of a budget of hours, the share kept for races

Listener = Callable[[Progress], None]


class Session:
    """One run over some tasks, which writes all it measures to a journal and goes on from what is there."""

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        measurer: Measurer,
        journal: Journal,
        options: TuneOptions,
        priors: Sequence[Log] = (),
        database: Database | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._measurer = measurer
        self._journal = journal
        self._options = options
        self._search = SEARCHES[options.search]
        self._database = database
        self._listener = listener
        here = journal.log.measured(measurer.setting)
        self._states = {
            task.workload: TaskState(
                task,
                seed=_seed(options.seed, task),
                earlier=[trial for trial in here if trial.workload == task.workload],
            )
            for task in tasks
        }
        own = [trial for trial in here if trial.workload in self._states]
        others = [
            *journal.log.prior_for(measurer.setting),
            *(trial for trial in here if trial.workload not in self._states),
            *(trial for log in priors for trial in log.trials),
        ]
        self._logs = (journal.log, *priors)
        self._own = own
        self._clock = Clock(options.budget, own)
        self._found: dict[Workload, Tuned] = {}  # at the end, from the races
        self._learner = Learner(self._states, others, seed=options.seed, path=model_path(journal.path))
        self._note = f"going on after {len(own)} trials" if own else ""

    def run(self) -> None:
        """Spend the budget, then race. An interrupt passes through; what was measured is in the journal."""
        reserve = min(RACE_S * len(self._states), _MOST_RACING * (self._clock.seconds_left or 0.0))
        deadline = self._clock.deadline(reserve_s=reserve)
        self._tell("")
        self._learn()
        while not self._clock.over and time.monotonic() < deadline:
            state = choose_task(list(self._states.values()))
            if state is None:
                self._note = "every workload has stopped gaining"
                break
            self._round(state, deadline)
        self._race_all()
        found = best_of(Log(self._own, self._journal.log.races))
        self._found = {tuned.workload: tuned for tuned in found if tuned.setting == self._measurer.setting}
        self._tell("")

    def progress(self, current: str = "") -> Progress:
        """Where the run stands."""
        clock, model = self._clock, self._learner.model
        return Progress(
            tasks=tuple(_progress(state, self._found.get(key)) for key, state in self._states.items()),
            current=current,
            trials=clock.trials,
            budget=self._options.budget.text,
            share_done=clock.share_done,
            seconds_left=clock.seconds_left,
            per_minute=clock.per_minute,
            failures=sum(state.failures for state in self._states.values()),
            rank_correlation=None if model is None else model.rank_correlation,
            note=self._note,
        )

    def _round(self, state: TaskState, deadline: float) -> None:
        """One batch of one workload."""
        left = self._clock.trials_left
        proposals = self._propose(state, _BATCH if left is None else min(_BATCH, left))
        if not proposals:
            state.stopped = "every schedule was tried"
            return
        origins = {proposal.schedule: proposal for proposal in proposals}
        for measurement in self._measurer.measure(
            state.task.job,
            [proposal.schedule for proposal in proposals],
            best_ms=state.best_ms,
            deadline=deadline,
        ):
            self._record(state, origins[measurement.schedule], measurement)
            self._tell(state.task.name)
        state.check_patience(self._options.patience)
        self._learn()

    def _propose(self, state: TaskState, count: int) -> list[Proposal]:
        """The default first, then what served others, then what the search finds; nothing twice."""
        first = [Proposal(state.task.space.default, "default")]
        if self._search.name != "random":
            first += [Proposal(schedule, "prior") for schedule in self._priors(state)]
        fresh = {p.schedule: p for p in reversed(first) if state.to_try(p.schedule)}
        proposals = list(reversed(fresh.values()))[:count]
        measured = [*state.tried.items(), *((proposal.schedule, float("inf")) for proposal in proposals)]

        def score(schedules: Sequence[KernelSchedule]) -> list[float]:
            return self._score(state, schedules)

        found = self._search.propose(state.sampler, measured, score, count - len(proposals))
        return proposals + found

    def _priors(self, state: TaskState) -> list[KernelSchedule]:
        """Schedules that were best for a like workload, here or elsewhere; legal ones alone."""
        task, found = state.task, []
        if self._database is not None:
            nearest = self._database.find(task.workload, self._measurer.setting, task.space)
            found += [nearest.schedule] if nearest is not None else []
        for tuned in (each for log in self._logs for each in best_of(log.alike(task.workload))):
            if tuned.workload != task.workload or tuned.setting != self._measurer.setting:
                try:
                    found.append(task.space.read(tuned.schedule))
                except SparsegenError:
                    continue
        return list(dict.fromkeys(found))[:_PRIORS]

    def _score(self, state: TaskState, schedules: Sequence[KernelSchedule]) -> list[float]:
        """The model's predictions; the analytic estimates until there is one."""
        base = state.features(state.task.space.default)
        features = [relative(state.features(schedule), base) for schedule in schedules]
        if self._learner.model is None:
            return [each.get(ESTIMATE, 0.0) for each in features]
        return [float(score) for score in self._learner.model.predict(features)]

    def _record(self, state: TaskState, proposal: Proposal, measurement: Measurement) -> None:
        task = state.task
        trial = Trial(
            workload=task.workload,
            setting=self._measurer.setting,
            kernel=task.space.kernel,
            schedule=measurement.schedule.as_dict(),
            status=measurement.status,
            times_ms=measurement.times_ms,
            error=measurement.error,
            features=state.features(measurement.schedule),
            features_version=FEATURES_VERSION,
            origin=proposal.origin,
            search=self._search.name,
            seed=self._options.seed,
            at=_now(),
            seconds=(measurement.build_s, measurement.run_s),
        )
        self._journal.append(trial)
        self._own.append(trial)
        self._clock.count()
        state.add(trial)

    def _learn(self) -> None:
        if self._search.name != "random":
            self._learner.learn(self._own)

    def _race_all(self) -> None:
        """The best few of every workload against the incumbent, in turn; those that gain most come first."""
        end = self._clock.deadline()
        for state in in_order(self._states.values()):
            if time.monotonic() + RACE_S > end:
                self._note = "no time was left for every final race"
                return
            self._race(state)

    def _race(self, state: TaskState) -> None:
        task, setting = state.task, self._measurer.setting
        racers = racers_of(state, self._journal.log.races, setting)
        if not racers:
            return
        self._tell(f"{task.name}, final race")
        results = [each for each in self._measurer.race(task.job, racers) if each.status == "ok"]
        if not results:
            return
        race = Race(
            workload=task.workload,
            setting=setting,
            kernel=task.space.kernel,
            schedules=tuple(each.schedule.as_dict() for each in results),
            times_ms=tuple(each.times_ms for each in results),
            at=_now(),
        )
        self._journal.append(race)

    def _tell(self, current: str) -> None:
        if self._listener is not None:
            self._listener(self.progress(current))


def _progress(state: TaskState, found: Tuned | None) -> TaskProgress:
    """A task as it stands; with the times of its race, taken in turn, once there are such."""
    best = state.best_ms if state.best_ms < float("inf") else None
    return TaskProgress(
        name=state.task.name,
        layers=len(state.task.layers),
        trials=state.trials,
        failures=state.failures,
        default_ms=state.default_ms if found is None else found.default_ms,
        best_ms=best if found is None else found.ms,
        stopped=state.stopped,
    )


def _seed(seed: int, task: Task) -> int:
    """Of a task's own: tasks do not depend on each other's draws, nor on Python's hash seed."""
    return zlib.crc32(f"{seed} {task.workload}".encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
