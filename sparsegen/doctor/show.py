"""Findings for people: a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.doctor.finding import Finding

_STYLES = {"ok": "green", "note": "yellow", "broken": "bold red"}


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """A row a check: what was found, what follows, the next command; then how many say what."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("check", "status"):
        table.add_column(title, no_wrap=True)
    table.add_column("what was found, and what follows", overflow="fold")
    for finding in findings:
        style = _STYLES[finding.status]
        table.add_row(Text(finding.name), Text(finding.status, style=style), _told(finding))
    console.print(table)
    console.print(Text(_summary(findings)))


def _told(finding: Finding) -> Text:
    told = Text(finding.found)
    told.append(f"\n{finding.consequence}", style="dim")
    if finding.next:
        told.append("\nnext: ", style="dim")
        told.append(finding.next, style="cyan")
    return told


def _summary(findings: Sequence[Finding]) -> str:
    counts = {status: sum(finding.status == status for finding in findings) for status in _STYLES}
    if counts["broken"]:
        names = ", ".join(finding.name for finding in findings if finding.status == "broken")
        return f"broken: {names}: models cannot be compiled here until that is mended"
    if counts["note"]:
        return f"nothing is broken; {counts['note']} of {len(findings)} checks have something to note"
    return "nothing is broken, and there is nothing to note"
