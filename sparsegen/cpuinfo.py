"""What Linux tells of this machine's CPU, without TVM, which knows more of it."""

from __future__ import annotations

import os
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """The first processor's model and flags in the text of /proc/cpuinfo; empty where it has none."""
    first = text.partition("\n\n")[0].splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
    return fields.get("model name", ""), frozenset(fields.get("flags", "").split())


def read_cpuinfo() -> tuple[str, frozenset[str]]:
    """Those of this machine; empty where the system does not tell."""
    try:
        return parse_cpuinfo(_CPUINFO.read_text())
    except OSError:
        return "", frozenset()


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))
