"""Questions to a Python process of its own: a crash there is an answer, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_SECONDS = 60.0  # far more than torch or TVM take to import on a busy machine
_LONGEST = 200  # characters of what a process says of its failure


@dataclass(frozen=True)
class Answer:
    """What a process told before it ended, by name, and how it failed: "" where it did not.

    `crashed` is whether a signal ended it.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    crashed: bool = False


class Child:
    """A module of this package that runs in a process of its own, from now on; a context that ends it.

    The module tells facts with `tell`, as it learns them.
    """

    def __init__(self, module: str) -> None:
        self._refused = ""
        # What can be imported here can be there, and no more: not what lies in the current folder (-P).
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
            )
        except OSError as error:
            self._refused = f"the system starts no process for it ({error.strerror})"

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def answer(self, seconds: float = _SECONDS) -> Answer:
        """What it told, once it has ended, or been ended after so many seconds."""
        if self._process is None:
            return Answer(failure=self._refused)
        try:
            output, errors = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
            return Answer(_facts(output), f"no answer in {seconds:g} s")
        status = self._process.returncode
        if status < 0:
            return Answer(_facts(output), f"crashed ({_name(-status)})", crashed=True)
        return Answer(_facts(output), _last_line(errors, status) if status else "")


def tell(**facts: Any) -> None:
    """Say facts, of what JSON can hold, to the process that asked."""
    sys.stdout.write(f"\n{json.dumps(facts)}\n")
    sys.stdout.flush()


def _facts(output: str) -> dict[str, Any]:
    """All that was told; lines that libraries print are left out."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        with suppress(ValueError):
            told = json.loads(line)
            facts |= told if isinstance(told, dict) else {}
    return facts


def _last_line(errors: str, status: int) -> str:
    """The last line of a traceback, which names the error."""
    lines = errors.strip().splitlines()
    return lines[-1].strip()[:_LONGEST] if lines else f"ended with status {status}"


def _name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
