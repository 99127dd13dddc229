"""Progress of long work: told step by step, shown as a bar or as plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Listener = Callable[[str, int, int], None]
"""Called as a step begins: what it does, how many steps are done, how many there are."""


class Steps:
    """Counts the steps of one piece of work and tells a listener, if there is one, as each begins."""

    def __init__(self, listener: Listener | None, *, total: int) -> None:
        self._listener = listener
        self._done = -1
        self._total = total

    def expect(self, steps: int) -> None:
        """Count `steps` more among those to come."""
        self._total += steps

    def begin(self, text: str) -> None:
        """Tell that the step before is done and that this one begins."""
        self._done += 1
        if self._listener is not None:
            self._listener(text, self._done, self._total)


@contextmanager
def shown(console: Console) -> Iterator[Listener]:
    """Yield a listener that shows a bar on a terminal, and a line a step elsewhere."""
    if not console.is_terminal:
        yield lambda text, done, total: console.print(
            f"[{done + 1}/{total}] {text}", markup=False, highlight=False
        )
        return
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    # A bar that redraws itself would take a core from the very code that is being timed.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=None)

        def listener(text: str, done: int, total: int) -> None:
            progress.update(task, description=text, completed=done, total=total, refresh=True)

        yield listener
