"""The CPU: instructions, and what of them is hidden; caches; cores against quota and affinity; load."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsegen.doctor.finding import Finding
from sparsegen.wording import size_phrase, threads_phrase

_BUSY = 0.5
"""Waiting processes a core from which times are doubtful."""
_NAMED = 4  # hidden features that are named; there may be twenty
_CACHES = (0, 0, 0)


@dataclass(frozen=True)
class Cpu:
    """This CPU as its kernels see it, as LLVM tells.

    `name` is LLVM's, `isa` the instruction set that code is made of: "" where there is none, and `refusal`
    then says why. `hidden` are features that such CPUs have and this machine does not let programs use.
    `caches` (L1, L2, L3, in bytes) are those that the system tells, 0 where it does not, `taken` those that
    schedules are chosen for. It is `disguised` where the environment names another CPU.
    """

    model: str
    name: str
    isa: str
    hidden: tuple[str, ...] = ()
    caches: tuple[int, int, int] = _CACHES
    taken: tuple[int, int, int] = _CACHES
    refusal: str = ""
    disguised: bool = False

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Cpu:
        """From JSON of its fields, which has lists for tuples."""
        fields: Any = {name: tuple(it) if isinstance(it, list) else it for name, it in told.items()}
        return cls(**fields)


def unknown(name: str, failure: str) -> Finding:
    """What is to be told of a check that TVM has no answer for."""
    return Finding(name, "note", f"not known, as TVM does not answer: {failure}", "see the check TVM")


def needless(name: str) -> Finding:
    """What is to be told of a check of what no code can be made for."""
    return Finding(name, "note", "not looked at, as no code can be made here", "see the check instructions")


def instructions(cpu: Cpu) -> Finding:
    """The instruction set, and what machine and system hide of it."""
    if cpu.refusal:
        return Finding("instructions", "broken", cpu.refusal, "no code can be made for this machine", "lscpu")
    found = f"{cpu.model}, {cpu.name} to LLVM{', disguised by the environment' if cpu.disguised else ''}: "
    if not cpu.hidden:
        return Finding("instructions", "ok", f"{found}{cpu.isa}", f"kernels are made of {cpu.isa}")
    others = len(cpu.hidden) - _NAMED
    named = ", ".join(cpu.hidden[:_NAMED]) + (f" and {others} more" if others > 0 else "")
    return Finding(
        "instructions",
        "note",
        f"{found}{cpu.isa}; {named}, which such CPUs have, the operating system or hypervisor hides",
        _without("avx512f" in cpu.hidden, cpu.isa),
        "grep -m1 flags /proc/cpuinfo",
    )


def _without(wide: bool, isa: str) -> str:
    if wide:
        return (
            f"kernels are made of {isa}, whose vectors are half as long: let the hypervisor pass AVX-512 on"
        )
    return f"kernels are made of {isa} without them: a little slower where they would help"


def caches(cpu: Cpu) -> Finding:
    """The caches that schedules are chosen for."""
    listed = ", ".join(f"L{level} {size_phrase(size)}" for level, size in enumerate(cpu.taken, start=1))
    untold = [f"L{level}" for level, size in enumerate(cpu.caches, start=1) if not size]
    if not untold:
        return Finding("caches", "ok", listed, "tiles and panels are chosen to fit them")
    return Finding(
        "caches",
        "note",
        f"the system does not tell {', '.join(untold)}; taken are {listed}",
        "schedules are chosen for small caches, and may be slow: tuning measures instead",
        "sparsegen tune MODEL",
    )


def cores(root: Path, *, machine: int, usable: int) -> Finding:
    """Cores of the machine, those that this process may run on (`usable`), and the time that it may take.

    `root` is where the system's files are: /.
    """
    found = f"{usable} of {machine} cores" if usable < machine else _cores(machine)
    quota = cpu_quota(root)
    if quota is None:
        return Finding(
            "cores",
            "ok",
            f"{found}, no quota",
            f"models run on {threads_phrase(usable)} unless told otherwise",
        )
    found += f", a quota of {quota:g} core{'' if quota == 1 else 's'}' time"
    if quota >= usable:
        return Finding("cores", "ok", found, f"models run on {threads_phrase(usable)} unless told otherwise")
    default, threads = threads_phrase(usable), max(1, math.floor(quota))
    still = "; one alone is, too" if quota < 1 else ""
    return Finding(
        "cores",
        "note",
        found,
        f"{default}, the default, would be stopped again and again and wait for each other{still}",
        f"sparsegen compare MODEL --threads {threads}",
    )


def cpu_quota(root: Path) -> float | None:
    """Cores' worth of time that the control groups of this process let it take; None for no limit.

    Both versions of control groups, and the least of a group and those that it is in. `root` is where
    the system's files are: /.
    """
    return min((quota for folder in _groups(root) if (quota := _quota(folder)) is not None), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's groups, from the innermost; a container may see only the outermost."""
    mounts = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in [*lines, "0::/", ":cpu:/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = ("cpu", "cpu,cpuacct") if controllers else (".", "unified")
        group = Path(path.lstrip("/"))
        for mount in (mounts / name for name in names):
            yield from (mount / each for each in (group, *group.parents))


def _quota(folder: Path) -> float | None:
    """The quota of one group: cpu.max of version 2, or cpu.cfs_quota_us of version 1."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{each}_us").read_text() for each in ("quota", "period"))
        allowed, length = float(quota), float(period)
    except (OSError, ValueError):  # no such file; "max" is no number
        return None
    return allowed / length if allowed > 0 and length > 0 else None


def load(root: Path, *, machine: int) -> Finding:
    """The machine's load in the last minute, against its cores. `root` is where the system's files are: /."""
    try:
        waiting = float((root / "proc/loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return Finding(
            "load", "note", "the system does not tell", "whether times can be trusted is not known"
        )
    found = f"{waiting:.1f} processes run or wait, for {_cores(machine)}"
    if waiting < _BUSY * machine:
        return Finding("load", "ok", found, "times can be taken")
    return Finding(
        "load",
        "note",
        found,
        "times that compare, tune and calibrate take are too long and uneven: stop other work first",
        "top",
    )


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"
