"""What a user sees of a tuning run: a table that follows it on a terminal, short lines in a log."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sparsegen.wording import milliseconds, short_names

_REDRAW_S = 0.5
_LINE_S = 30.0
_NEWS = 0.99
"""A new best is worth a line where it takes less than this share of the time last told."""


@dataclass(frozen=True)
class TaskProgress:
    """One workload: the first of the `layers` that share it, and what its trials came to so far.

    Times are None until one was measured; `stopped` is empty while the tuning of this task goes on, and
    says why otherwise.
    """

    name: str
    layers: int
    trials: int
    failures: int
    default_ms: float | None
    best_ms: float | None
    stopped: str = ""

    @property
    def gain(self) -> float | None:
        """How many times as fast as the default; None until both times are known."""
        return self.default_ms / self.best_ms if self.default_ms and self.best_ms else None


@dataclass(frozen=True)
class Progress:
    """A tuning run at one moment.

    `current` is the name of the task that is being tuned, empty where none is. `trials` and `failures`
    are those of all tasks, `budget` is in words (`700 trials`, `8 h`) and `share_done` the share of it
    that is used up. `rank_correlation` is the cost model's on trials that it has not seen; `note` is
    what else there is to say.
    """

    tasks: tuple[TaskProgress, ...]
    current: str
    trials: int
    budget: str
    share_done: float
    seconds_left: float | None
    per_minute: float
    failures: int
    rank_correlation: float | None = None
    note: str = ""


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class Overall:
    """Sums over the layers whose tasks have been measured, of `of` layers, and the gains."""

    layers: int
    of: int
    default_ms: float
    best_ms: float
    geomean_gain: float

    @property
    def gain(self) -> float:
        """How many times as fast as the default the layers are together."""
        return self.default_ms / self.best_ms


def overall(tasks: Sequence[TaskProgress]) -> Overall | None:
    """What was gained over all layers, each counted once; None where nothing was measured yet."""
    measured = [
        (task.layers, task.default_ms, task.best_ms, task.gain)
        for task in tasks
        if task.default_ms and task.best_ms and task.gain
    ]
    layers = sum(count for count, *_ in measured)
    if not layers:
        return None
    return Overall(
        layers=layers,
        of=sum(task.layers for task in tasks),
        default_ms=sum(count * default for count, default, _, _ in measured),
        best_ms=sum(count * best for count, _, best, _ in measured),
        geomean_gain=math.exp(sum(count * math.log(gain) for count, _, _, gain in measured) / layers),
    )


def progress_table(progress: Progress, *, rows: int | None = None) -> Group:
    """The tasks and what they gained, a row in all, and the run's own figures below.

    Of more than `rows` tasks only those around the current one are shown.
    """
    shown = _window(progress, rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    total = overall(progress.tasks)
    layers, *sums = ("", "", "", "") if total is None else _sums(total)
    names = short_names([task.name for task in progress.tasks])
    # Only names and reasons give way where the terminal is too narrow: numbers stay whole.
    longest = max(map(len, names), default=0)
    table.add_column("layer", "total", overflow="ellipsis", min_width=min(16, longest))
    for title, footer in zip(
        ("layers", "trials", "failures", "default\nms", "best\nms", "gain"),
        (layers, str(progress.trials), str(progress.failures), *sums),
        strict=True,
    ):
        table.add_column(title, footer, justify="right", no_wrap=True)
    table.add_column("", overflow="ellipsis")
    for name, task in list(zip(names, progress.tasks, strict=True))[shown]:
        current = task.name == progress.current
        table.add_row(
            Text(name),
            str(task.layers),
            str(task.trials),
            Text(str(task.failures), style="yellow" if task.failures else "dim"),
            _time(task.default_ms),
            _time(task.best_ms),
            _gain(task.gain),
            Text("< tuning" if current else task.stopped, style="" if current else "dim", no_wrap=True),
            style="bold" if current else "",
        )
    hidden = len(progress.tasks) - len(progress.tasks[shown])
    more = [Text(f"and {hidden} more", style="dim")] if hidden else []
    return Group(table, *more, *_figures(progress, total))


@contextmanager
def live(console: Console) -> Iterator[Listener]:
    """Yield a listener that redraws the table on a terminal, and elsewhere writes a line now and then.

    The table is redrawn only when the listener is called, at most every half second. The state that the
    listener was told last stays, whole, also where the terminal is too low for it. Without a terminal
    there is a line every 30 s, and one for a task that gained more than 1 % since it was last told of.
    """
    if not console.is_terminal:
        yield _Lines(console)
        return
    # A view that redraws itself would take a core from the very kernels that are being timed.
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        redraw = _Redraw(console, screen)
        try:
            yield redraw
        finally:
            redraw.finish()


def print_summary(progress: Progress, console: Console) -> None:
    """Print what was gained over all layers, below the table, which a terminal has from `live` already."""
    if not console.is_terminal:
        console.print(progress_table(progress))
    console.print(Text(summary_line(progress), style="bold"), soft_wrap=True)


def summary_line(progress: Progress) -> str:
    """The result of a run in one line."""
    total = overall(progress.tasks)
    spent = f"{_count(progress.trials, 'trial')}, {_count(progress.failures, 'failure')}"
    unknown = sum(task.layers for task in progress.tasks if task.best_ms and not task.default_ms)
    without = f"{_count(unknown, 'layer')} without a time of the default schedule, so the gain is not known"
    if total is None:
        return f"{without if unknown else 'nothing was gained: no layer has been measured'} ({spent})"
    return (
        f"{_layers(total)}: {milliseconds(total.default_ms)} ms by default, "
        f"{milliseconds(total.best_ms)} ms tuned, {_gains(total)}"
        f"{f'; {without}' if unknown else ''} ({spent})"
    )


def plain_line(progress: Progress, task: TaskProgress | None) -> str:
    """A run in one line of a log, without the time of day: `312 trials, 92/min, layer1.conv1 0.53 ms`."""
    parts = [_count(progress.trials, "trial"), f"{progress.per_minute:.0f}/min"]
    if task is not None and task.best_ms is not None:
        names = short_names([each.name for each in progress.tasks])
        name = dict(zip((each.name for each in progress.tasks), names, strict=True))[task.name]
        gain = "" if task.gain is None else f" ({task.gain:.2f}x)"
        parts.append(f"{name} {milliseconds(task.best_ms)} ms{gain}")
    parts.append(_count(progress.failures, "failure"))
    return ", ".join([*parts, *_left(progress), *([progress.note] if progress.note else [])])


class _Redraw:
    """Draws the table on a terminal; what came too soon after the last drawing is kept for the end."""

    def __init__(self, console: Console, screen: Live) -> None:
        self._console = console
        self._screen = screen
        self._last: Progress | None = None
        self._drawn = -math.inf

    def __call__(self, progress: Progress) -> None:
        self._last = progress
        if monotonic() - self._drawn >= _REDRAW_S:
            lines = len(self._console.render_lines(progress_table(progress)))
            rows = len(progress.tasks) - max(0, lines + 2 - self._console.height)
            self._screen.update(progress_table(progress, rows=max(1, rows)), refresh=True)
            self._drawn = monotonic()

    def finish(self) -> None:
        """Leave the whole of the last state, which may be higher than the terminal."""
        if self._last is not None:
            self._screen.update(progress_table(self._last))


class _Lines:
    """Writes short lines: a log wants to be read tomorrow, and by `grep`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, float] = {}
        self._written = -math.inf

    def __call__(self, progress: Progress) -> None:
        news = [task for task in progress.tasks if self._is_news(task)]
        if not news and monotonic() - self._written < _LINE_S:
            return
        current = next((task for task in progress.tasks if task.name == progress.current), None)
        for task in news or (current,):
            line = f"{datetime.now():%H:%M:%S}  {plain_line(progress, task)}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            if task is not None and task.best_ms is not None:
                self._told[task.name] = task.best_ms
        self._written = monotonic()

    def _is_news(self, task: TaskProgress) -> bool:
        """Whether the task gained since it was last told of; what it starts from is no news."""
        if task.best_ms is None:
            return False
        return task.best_ms < _NEWS * self._told.setdefault(task.name, task.best_ms)


def _window(progress: Progress, rows: int | None) -> slice:
    """Which tasks are shown: the current one in the middle, as far as there are others on both sides."""
    count = len(progress.tasks)
    if rows is None or rows >= count:
        return slice(0, count)
    names = [task.name for task in progress.tasks]
    middle = names.index(progress.current) if progress.current in names else 0
    first = min(max(0, middle - rows // 2), count - rows)
    return slice(first, first + rows)


def _figures(progress: Progress, total: Overall | None) -> Iterator[Text]:
    """The lines below the table."""
    spent = [
        _count(progress.trials, "trial"),
        f"{progress.share_done:.0%} of {progress.budget}",
        f"{progress.per_minute:.0f} candidates a minute",
        _count(progress.failures, "failure"),
        *_left(progress),
    ]
    yield Text(", ".join(spent))
    found = [] if total is None else [f"{_gains(total)} over the default"]
    if progress.rank_correlation is not None:
        found.append(f"cost model's rank correlation {progress.rank_correlation:.2f}")
    if found:
        yield Text(", ".join(found))
    if progress.note:
        yield Text(progress.note, style="yellow")


def _gains(total: Overall) -> str:
    return f"{total.gain:.2f}x together and {total.geomean_gain:.2f}x in geometric mean"


def _layers(total: Overall) -> str:
    """How many layers a sum is over: `19 layers`, `12 of 19 layers`."""
    share = "" if total.layers == total.of else f"{total.layers} of "
    return f"{share}{_count(total.of, 'layer')}"


def _sums(total: Overall) -> tuple[str, str, str, str]:
    """Of the row in all: layers measured, default, best, gain."""
    layers = str(total.of) if total.layers == total.of else f"{total.layers}/{total.of}"
    return layers, milliseconds(total.default_ms), milliseconds(total.best_ms), f"{total.gain:.2f}x"


def _time(time: float | None) -> str:
    return "" if time is None else milliseconds(time)


def _gain(ratio: float | None) -> Text:
    if ratio is None:
        return Text()
    return Text(f"{ratio:.2f}x", style="green" if ratio > 1 else "")


def _left(progress: Progress) -> list[str]:
    """The time left, where it is known."""
    return [] if progress.seconds_left is None else [f"{_duration(progress.seconds_left)} left"]


def _duration(seconds: float) -> str:
    """`40 s`, `41 min`, `2 h 05 min`."""
    if round(seconds) < 60:
        return f"{max(0, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
