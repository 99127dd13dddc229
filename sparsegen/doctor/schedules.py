"""Schedules that come with sparsegen: for this very CPU and number of threads, near it, or none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparsegen.database.shipped import shipped_files
from sparsegen.doctor.cpu import Cpu
from sparsegen.doctor.finding import REINSTALL, Finding
from sparsegen.wording import threads_phrase


@dataclass(frozen=True)
class Shipped:
    """The schedules of a CPU family: how many there are by threads."""

    cpu: str
    isa: str
    counts: Mapping[int, int]


def read_shipped() -> tuple[Shipped, ...]:
    """What comes with the package, by the heads of its files.

    Raises ImportError, OSError, ValueError, LookupError or TypeError where they are missing or damaged.
    """
    found = []
    for file in shipped_files():
        content = json.loads(file.read_bytes())
        counts = Counter(int(entry["threads"]) for entry in content["schedules"])
        found.append(Shipped(content["cpu"], content["isa"], counts))
    return tuple(found)


def schedules(cpu: Cpu, shipped: Sequence[Shipped], *, threads: int) -> Finding:
    """What of the shipped schedules holds for this CPU, at so many threads."""
    family = next((each for each in shipped if (each.cpu, each.isa) == (cpu.name, cpu.isa)), None)
    if family is None:
        others = ", ".join(f"{each.cpu} ({each.isa})" for each in shipped) or "none"
        return Finding(
            "schedules",
            "note",
            f"none for {cpu.name} ({cpu.isa}); there are: {others}",
            "a model of the CPU chooses schedules; tuning finds better ones",
            "sparsegen tune MODEL",
        )
    if count := family.counts.get(threads, 0):
        return Finding(
            "schedules",
            "ok",
            f"exact: {count} for {cpu.name} ({cpu.isa}) and {threads_phrase(threads)}",
            "layers of their shapes take them; a model of the CPU chooses for others",
        )
    nearest = min(family.counts, key=lambda each: abs(each - threads))
    near = threads_phrase(nearest)
    return Finding(
        "schedules",
        "note",
        f"nearest: {family.counts[nearest]} for {cpu.name} ({cpu.isa}), but {near}, not {threads}",
        f"models on {near} take them; for others a model of the CPU chooses; tuning finds better ones",
        f"sparsegen tune MODEL --threads {threads}",
    )


def damaged(error: Exception) -> Finding:
    """What is to be told where the shipped files cannot be read."""
    return Finding(
        "schedules",
        "broken",
        f"the files that come with sparsegen cannot be read ({type(error).__name__}: {error})",
        "models compile with a database of schedules, which cannot be had",
        REINSTALL,
    )
