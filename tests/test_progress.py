"""Progress: steps are counted, and shown on terminals and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sparsegen.progress import Steps, shown


def test_steps_are_told_as_they_begin() -> None:
    told: list[tuple[str, int, int]] = []
    steps = Steps(lambda *step: told.append(step), total=2)
    steps.begin("a")
    steps.expect(1)
    steps.begin("b")
    steps.begin("c")
    assert told == [("a", 0, 2), ("b", 1, 3), ("c", 2, 3)]


def test_nobody_has_to_listen() -> None:
    assert Steps(None, total=1).begin("a") is None


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_are_shown(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with shown(console) as listener:
        listener("timing layer [conv]", 1, 3)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "timing layer [conv]" in text
    assert ("\x1b" in text) is terminal
    assert terminal or text == "[2/3] timing layer [conv]\n"
