"""What computes an operator: a function, in this process or in one of its own that may die.

A runner is called with the results that its operator reads, in that order, then with those that it carries
over from the input before (the initial state for the first), and then with the model's inputs that it is fed.
One thread calls it at a time, but in a plan of copies, where each copy does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

Runner = Callable[..., Any]

hung: list[Runner] = []
"""Runners that took too long, in threads that nothing can end: they may go on, and are not to be called."""


def ended(runner: Runner) -> None:
    """Note that a runner has come to its end, for one that hung until now."""
    if hung:
        with contextlib.suppress(ValueError):  # another thread may note it too
            hung.remove(runner)
