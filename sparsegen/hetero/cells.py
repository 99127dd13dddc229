"""Names in the cells of a terminal's table: lines end between their parts, never within one."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_PART = re.compile(r"[^\s._]+[._]*\s*|[._]+\s*")


class Cell:
    """A text of words and dotted names: lines end after a space, a dot or an underscore.

    Only a part that is longer than the line is cut.
    """

    def __init__(self, text: str, style: str = "") -> None:
        self._text, self._style = text, style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max(map(cell_len, self._text.splitlines()), default=0)
        return Measurement(longest_part(self._text), longest).clamp(max_width=options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [each for line in self._text.splitlines() for each in _broken(line, options.max_width)]
        yield Text("\n".join(lines), self._style, overflow="fold")


def longest_part(text: str) -> int:
    """Columns that the longest part of a text takes, which stays in one line."""
    return max((cell_len(each.rstrip()) for each in _PART.findall(text)), default=0)


def _broken(line: str, width: int) -> list[str]:
    """The lines of a line, each of as many parts as there is room for."""
    lines = [""]
    for part in _PART.findall(line):
        if lines[-1] and cell_len(lines[-1]) + cell_len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [each.rstrip() for each in lines]
