"""What a log says of its searches: the best time so far against the number of trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, isfinite
from pathlib import Path
from statistics import geometric_mean, median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.database.trial import Trial
from sparsegen.database.wording import batch_of, operator_phrase, zeros_phrase
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import JournalError
from sparsegen.kernels.space import KnobValue
from sparsegen.tuner.options import SEARCH_NAMES
from sparsegen.wording import milliseconds, threads_phrase

CLOSE = 1.05
"""A search has come to the best once its time is at most this often the best."""


@dataclass(frozen=True)
class Curve:
    """The best time so far of one search on one workload, in milliseconds; element i is after i + 1 trials.

    Median, least and most over `seeds` runs; infinite before a trial ended well. Failed trials count.
    A run shorter than the longest goes on with what it had found: it had stopped early.
    """

    search: str
    seeds: int
    median_ms: tuple[float, ...]
    least_ms: tuple[float, ...]
    most_ms: tuple[float, ...]

    @property
    def trials(self) -> int:
        """Of the longest run."""
        return len(self.median_ms)

    @property
    def best_ms(self) -> float:
        """What the search came to: in the median over its seeds."""
        return self.median_ms[-1]

    def trials_to(self, ms: float) -> int | None:
        """After how many trials the median had come down to `ms`; None where it never did."""
        after = enumerate(self.median_ms, start=1)
        return next((count for count, best in after if isfinite(best) and best <= ms), None)


@dataclass(frozen=True)
class WorkloadCurves:
    """All searches on one workload in one setting.

    `default_ms` is the time of the schedule chosen without tuning, None where it was not measured;
    `best_ms` the least that any run of any search found, infinite where no trial ended well.
    """

    workload: Workload
    setting: Setting
    default_ms: float | None
    best_ms: float
    searches: tuple[Curve, ...]

    def curve(self, search: str) -> Curve | None:
        """The curve of a search, None where the log has none."""
        return next((curve for curve in self.searches if curve.search == search), None)

    def trials_to_best(self, search: str) -> int | None:
        """After how many trials a search was within 5 % of `best_ms`; None where it never was."""
        curve = self.curve(search)
        return None if curve is None else curve.trials_to(CLOSE * self.best_ms)

    def gain(self, search: str) -> float | None:
        """How many times as fast as the default; None where one of the two was not measured."""
        curve = self.curve(search)
        if curve is None or self.default_ms is None or not 0 < curve.best_ms < inf:
            return None
        return self.default_ms / curve.best_ms


def curves(trials: Sequence[Trial], *, log: str | Path = "the log") -> list[WorkloadCurves]:
    """The curves of each workload in each setting, in the order in which a log first has them.

    A schedule that gave a wrong result in any trial counts as failed in all. `log` is the name for
    messages. Raises SparsegenError where there are no trials, or none that ended
    well.
    """
    if not trials:
        raise JournalError(
            f"{log} holds no trials, so there is nothing to report: run `sparsegen tune` first"
        )
    groups: dict[tuple[Workload, Setting], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.workload, trial.setting].append(trial)
    found = [_of_workload(*key, group) for key, group in groups.items()]
    if not any(isfinite(each.best_ms) for each in found):
        last = trials[-1]
        raise JournalError(
            f"none of the {len(trials)} trials in {log} ended well (the last: {last.status}"
            f"{f', {last.error}' if last.error else ''}), so there is nothing to report: tune again"
        )
    return found


def searches_of(curves: Iterable[WorkloadCurves]) -> list[str]:
    """The searches that took part: ours in their order, then what a log has besides."""
    found = dict.fromkeys(curve.search for each in curves for curve in each.searches)
    order = [*SEARCH_NAMES, *found]
    return sorted(found, key=order.index)


def print_report(curves: Sequence[WorkloadCurves], console: Console) -> None:
    """Print what each search came to on each workload, and after how many trials."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    searches = searches_of(curves)
    table.add_column("workload", min_width=24)
    table.add_column("default\nms", justify="right", no_wrap=True)
    table.add_column("search", no_wrap=True)
    for header in ("trials", "best\nms", "gain", "within\n5%"):
        table.add_column(header, justify="right", no_wrap=True)
    titles, common = describe(curves)
    for title, each in zip(titles, curves, strict=True):
        columns = zip(*(_cells(each, search) for search in searches), strict=True)
        default = "" if each.default_ms is None else milliseconds(each.default_ms)
        cells = map(Text, [", ".join(filter(None, title)), default, *map("\n".join, columns)])
        table.add_row(*cells)
    console.print(table)
    if common:
        console.print(Text(f"all: {', '.join(common)}"), soft_wrap=True)
    if any(curve.seeds > 1 for each in curves for curve in each.searches):
        console.print(Text("64 x 5: 64 trials with each of 5 seeds; times are medians over the seeds"))
    console.print(Text("within 5%: trials made until a search was that close to the best time of all"))
    for search in searches:
        console.print(Text(search_line(curves, search), style="bold"), soft_wrap=True)


def search_line(curves: Sequence[WorkloadCurves], search: str) -> str:
    """What a search came to on all workloads, in one line."""
    taken = [each for each in curves if each.curve(search) is not None]
    gains = [gain for each in taken if (gain := each.gain(search)) is not None]
    counts = [each.trials_to_best(search) for each in taken]
    reached = sum(count is not None for count in counts)
    middle = median(inf if count is None else count for count in counts)
    return (
        f"{search}: "
        + (f"{geometric_mean(gains):.2f}x over the default in geometric mean, " if gains else "")
        + f"within 5% of the best on {reached} of {len(taken)} workloads"
        + (f", after {middle:.0f} trials in the median" if isfinite(middle) else "")
    )


def describe(curves: Sequence[WorkloadCurves]) -> tuple[list[tuple[str, str]], list[str]]:
    """The workloads in words, and what they have in common.

    A workload is its operator, and in what else it and its setting differ from others.
    """
    differs = {write: len(set(map(write, curves))) > 1 for write in (*_COMMON, *_VERSIONS)}
    own = [", ".join(write(each) for write in differs if differs[write]) for each in curves]
    common = [write(curves[0]) for write in _COMMON if not differs[write]]
    return [(operator_phrase(each.workload), rest) for each, rest in zip(curves, own, strict=True)], common


_COMMON: tuple[Callable[[WorkloadCurves], str], ...] = (
    lambda each: zeros_phrase(each.workload),
    lambda each: f"batch {batch_of(each.workload)}",
    lambda each: threads_phrase(each.setting.threads),
    lambda each: f"{each.setting.machine} ({each.setting.isa})",
)
_VERSIONS: tuple[Callable[[WorkloadCurves], str], ...] = (
    lambda each: f"for {each.setting.cpu}",
    lambda each: f"sparsegen {each.setting.sparsegen}",
    lambda each: f"TVM {each.setting.tvm}",
)
"""Told only where they differ."""


def _of_workload(workload: Workload, setting: Setting, trials: list[Trial]) -> WorkloadCurves:
    wrong = {_key(trial) for trial in trials if trial.status == "wrong result"}
    runs: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    defaults, best = [], inf
    for trial in trials:
        right = trial.status == "ok" and _key(trial) not in wrong
        time = trial.median_ms if right else inf
        runs[trial.search][trial.seed].append(time)
        best = min(best, time)
        if trial.origin == "default" and isfinite(time):
            defaults.append(time)
    return WorkloadCurves(
        workload=workload,
        setting=setting,
        default_ms=median(defaults) if defaults else None,
        best_ms=best,
        searches=tuple(_curve(search, list(of_seed.values())) for search, of_seed in runs.items()),
    )


def _curve(search: str, runs: list[list[float]]) -> Curve:
    """The curve of a search from the times of its runs, in the order of their trials."""
    longest = max(map(len, runs))
    padded = (run + [inf] * (longest - len(run)) for run in runs)
    after = list(zip(*(accumulate(run, min) for run in padded), strict=True))
    return Curve(
        search=search,
        seeds=len(runs),
        median_ms=tuple(map(median, after)),
        least_ms=tuple(map(min, after)),
        most_ms=tuple(map(max, after)),
    )


def _key(trial: Trial) -> frozenset[tuple[str, KnobValue]]:
    return frozenset(trial.schedule.items())


def _cells(curves: WorkloadCurves, search: str) -> tuple[str, ...]:
    """A search's name, trials, best time, gain, and trials until it was close to the best."""
    curve = curves.curve(search)
    if curve is None:
        return search, "", "", "", ""
    gain, close = curves.gain(search), curves.trials_to_best(search)
    return (
        search,
        f"{curve.trials}" + (f" x {curve.seeds}" if curve.seeds > 1 else ""),
        milliseconds(curve.best_ms) if isfinite(curve.best_ms) else "none",
        "" if gain is None else f"{gain:.2f}x",
        "never" if close is None else str(close),
    )
