"""What a check found, what follows from it, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "note", "broken"]
"""Nothing to do; something costs speed, or cannot be told; models cannot be compiled, or cannot run."""

REINSTALL = "pip install --force-reinstall --no-deps ."
"""The command, in the folder of sparsegen's sources, where part of the package is missing."""


@dataclass(frozen=True)
class Finding:
    """What one check found. `next` is a command, or "" where there is nothing to do."""

    name: str
    status: Status
    found: str
    consequence: str
    next: str = ""


def worst(findings: Sequence[Finding]) -> Status:
    """The worst status of any."""
    statuses = {finding.status for finding in findings}
    return "broken" if "broken" in statuses else "note" if "note" in statuses else "ok"


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings as JSON holds them."""
    return {
        "schema": 1,
        "status": worst(findings),
        "checks": [asdict(finding) for finding in findings],
    }
