"""The schedule for a workload: the best one measured for it, or else for one much like it."""

from __future__ import annotations

import functools
import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sparsegen.database.exported import parse_exported
from sparsegen.database.journal import is_journal, parse_journal, read_bytes
from sparsegen.database.shipped import shipped_files
from sparsegen.database.tuned import Tuned, best_of
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import SparsegenError
from sparsegen.formats.structure_names import of_rows
from sparsegen.kernels.space import KernelSchedule, Space

_ROWS_APART = ("unstructured", ":")
_ROWS_TOGETHER = ("vector:", "block:x", ":x")
"""Kinds of structures that suit the same panels; any other stands alone."""

_OTHER_PANELS = 2.0  # farther than any that is near
_OTHER_KIND = 0.5  # as much as weights 1.6 times as dense
_OTHER_SIZES = 0.2  # as much as weights 1.2 times as dense
_FARTHEST = 0.7  # twice as dense: the best panels are others then
_NO_MATTER = 1e-9  # farther than the very workload
_LEAST_DENSITY = 0.01  # a workload's density has two digits

How = Literal["tuned", "nearest"]
"""Whether a schedule was tuned for this very workload, or for one much like it."""


@dataclass(frozen=True)
class Found:
    """A schedule and the file that it comes from."""

    schedule: KernelSchedule
    source: str
    how: How


@dataclass(frozen=True, eq=False)
class Source:
    """The schedules of one file. A `portable` one holds for every machine of its CPU family."""

    name: str
    schedules: tuple[Tuned, ...]
    portable: bool

    def holds_for(self, measured: Setting, wanted: Setting) -> bool:
        """Whether what was measured in one setting is taken in another."""
        return measured.same_family(wanted) if self.portable else measured == wanted


@dataclass(frozen=True, eq=False)
class Database:
    """Tuned schedules from journals and exported files; the first of `sources` has priority.

    A journal holds for the very setting that its trials were made in: the machine's model, the
    threads and the versions. An exported file holds for a CPU family and a number of threads,
    whatever the model: it was exported to be used elsewhere, as those that come with the package.

    For a workload `find` takes the best schedule measured for it, whichever source has it; else that of
    the nearest workload: of the same operator, shapes and lanes, and with a `distance` of at most 0.7,
    at any distance where the kernel multiplies zeros too; else none.
    """

    sources: tuple[Source, ...] = ()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Database:
        """The schedules of a journal or of an exported file; which one it is, its content tells.

        Raises SparsegenError for a file that cannot be read or that is neither; warns of a journal's lines
        that cannot be read.
        """
        path = Path(path)
        data = read_bytes(path)
        if is_journal(data):
            return cls((Source(str(path), tuple(best_of(parse_journal(path, data)[0])), portable=False),))
        return cls((Source(str(path), tuple(parse_exported(path, data)), portable=True),))

    @classmethod
    @functools.cache
    def shipped(cls) -> Database:
        """The schedules installed with the package."""
        return cls(
            tuple(
                Source(file.name, tuple(parse_exported(file.name, file.read_bytes())), portable=True)
                for file in shipped_files()
            )
        )

    def __or__(self, other: Database) -> Database:
        """Both, this one having priority."""
        return Database(self.sources + other.sources)

    @property
    def schedules(self) -> tuple[Tuned, ...]:
        """All of them, source by source."""
        return tuple(tuned for source in self.sources for tuned in source.schedules)

    def covers(self, workload: Workload, setting: Setting) -> bool:
        """Whether there is a schedule for the workload's operator and shapes, whatever the sparsity."""
        return any(
            source.holds_for(tuned.setting, setting)
            for source, tuned in self._by_geometry.get(workload.geometry, ())
        )

    def find(self, workload: Workload, setting: Setting, space: Space) -> Found | None:
        """The schedule for a workload, of those that are legal in the space of its kernel."""
        candidates = [
            (_apart(workload, tuned.workload, space), self.sources.index(source), tuned)
            for source, tuned in self._by_geometry.get(workload.geometry, ())
            if tuned.kernel == space.kernel and source.holds_for(tuned.setting, setting)
        ]
        for apart, priority, tuned in sorted(candidates, key=_order):
            schedule = _legal(tuned, space) if apart <= _FARTHEST else None
            if schedule is not None:
                how: How = "tuned" if tuned.workload == workload else "nearest"
                return Found(schedule, self.sources[priority].name, how)
        return None

    @functools.cached_property
    def _by_geometry(self) -> dict[tuple[Any, ...], list[tuple[Source, Tuned]]]:
        found: dict[tuple[Any, ...], list[tuple[Source, Tuned]]] = defaultdict(list)
        for source in self.sources:
            for tuned in source.schedules:
                found[tuned.workload.geometry].append((source, tuned))
        return dict(found)


def _apart(wanted: Workload, tuned: Workload, space: Space) -> float:
    """The distance of two workloads' sparsity, where that matters to the kernel."""
    return distance(wanted, tuned) if space.zeros_matter or wanted == tuned else _NO_MATTER


def distance(one: Workload, other: Workload) -> float:
    """How far apart the sparsity of two workloads of one operator and one shape is.

    The absolute logarithm of the ratio of their densities, plus, for structures that differ: 0.2 in their
    sizes alone (vector:4 and vector:8), 0.5 in their kind (unstructured and N:M; vectors, blocks and
    N:MxROWS), and 2 where they suit other panels: where rows keep their columns apart, in the one, and
    together in the other; where either is of whole filters, column-combined, dense or empty.
    """
    densities = (max(workload.density, _LEAST_DENSITY) for workload in (one, other))
    apart = abs(math.log(next(densities)) - math.log(next(densities)))
    if one.structure == other.structure:
        return apart
    kinds = {_kind(one.structure), _kind(other.structure)}
    if len(kinds) == 1:
        return apart + _OTHER_SIZES
    alike = any(kinds <= set(family) for family in (_ROWS_APART, _ROWS_TOGETHER))
    return apart + (_OTHER_KIND if alike else _OTHER_PANELS)


def _kind(structure: str) -> str:
    """A structure's text without its sizes; filters of one row keep apart what others keep together."""
    return structure if structure == of_rows("kernel", 1) else re.sub(r"[\d.]+", "", structure)


def _order(candidate: tuple[float, int, Tuned]) -> tuple[float, int, str, float, float]:
    """The nearest first; of those equally far the first source's, and always the same one."""
    apart, priority, tuned = candidate
    return apart, priority, tuned.workload.structure, tuned.workload.density, tuned.ms


def _legal(tuned: Tuned, space: Space) -> KernelSchedule | None:
    """The schedule in the space of the layer at hand; None where it is not legal there."""
    try:
        return space.read(tuned.schedule)
    except SparsegenError:
        return None
