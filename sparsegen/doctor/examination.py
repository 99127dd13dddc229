"""All checks, in the order in which they are told; torch and TVM are asked while the others run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sparsegen.cache.folder import default_folder
from sparsegen.doctor import cpu, folders, memory, openmp, packages, toolchain, torch_build
from sparsegen.doctor.child import Answer, Child
from sparsegen.doctor.cpu import Cpu
from sparsegen.doctor.finding import Finding
from sparsegen.doctor.schedules import damaged, read_shipped, schedules
from sparsegen.errors import FileError, first_line

Checks = Mapping[str, Callable[[], Finding]]

NAMES = (
    *("instructions", "caches", "cores", "load", "huge pages"),
    *("gcc", "TVM", "torch", "OpenMP", "sparsegen", "schedules"),
    *("temporary folder", "cache folder"),
)
"""The checks, in the order in which they are told."""
_FOR_CODE = ("caches", "schedules")
"""Those that are of use only where code can be made."""


def examine(root: Path = Path("/")) -> list[Finding]:
    """Run all checks. `root` is where the system's files (/proc, /sys) are."""
    with Child("sparsegen.doctor.tvm_child") as tvm, Child("sparsegen.doctor.torch_child") as torch:
        found = run(_of_system(root))
        found |= run(_of_packages(tvm.answer(), torch.answer()))
    return [found[name] for name in NAMES]


def run(checks: Checks) -> dict[str, Finding]:
    """The findings of checks, by name: one that fails is a finding, too, and the others go on."""
    return {name: _guarded(name, check) for name, check in checks.items()}


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # whatever is wrong with this machine, the other checks are wanted
        found = f"cannot be told ({type(error).__name__}: {first_line(error)})"
        return Finding(
            name, "note", found, "the other checks hold; if nothing else is wrong, please report it"
        )


def _of_system(root: Path) -> Checks:
    machine = os.cpu_count() or 1
    return {
        # The first, for the processes that are asked meanwhile are load themselves.
        "load": partial(cpu.load, root, machine=machine),
        "cores": partial(cpu.cores, root, machine=machine, usable=_usable()),
        "huge pages": partial(memory.huge_pages, root),
        "gcc": toolchain.gcc,
        "temporary folder": lambda: folders.temporary(*folders.temporary_folder(os.environ)),
        "cache folder": _cache_folder,
    }


def _cache_folder() -> Finding:
    try:
        folder = default_folder()
    except FileError as error:
        return folders.no_cache(str(error))
    return folders.cache(folders.look(folder, measured=True), user=os.geteuid())


def _of_packages(tvm: Answer, torch: Answer) -> Checks:
    build = torch.facts.get("torch")
    # Where torch has answered, a failure after that is our own part's.
    native = torch.facts.get("native", None if build is None else torch.failure)
    return {
        **_of_cpu(tvm),
        "TVM": lambda: packages.tvm(packages.installed, packages.pins(), tvm),
        "torch": lambda: torch_build.torch(
            None if build is None else torch_build.TorchBuild(**build), torch.failure
        ),
        "OpenMP": lambda: openmp.openmp(torch.facts.get("openmp"), torch.failure),
        "sparsegen": lambda: torch_build.own_part(packages.installed("sparsegen"), native, torch.failure),
    }


def _of_cpu(tvm: Answer) -> Checks:
    """The checks that need LLVM's name of this CPU."""
    told = tvm.facts.get("cpu")
    if told is None:
        return {name: partial(cpu.unknown, name, tvm.failure) for name in ("instructions", *_FOR_CODE)}
    own = Cpu.read(told)
    instructions = partial(cpu.instructions, own)
    if own.refusal:
        return {"instructions": instructions, **{name: partial(cpu.needless, name) for name in _FOR_CODE}}
    return {
        "instructions": instructions,
        "caches": partial(cpu.caches, own),
        "schedules": partial(_schedules, own),
    }


def _schedules(own: Cpu) -> Finding:
    try:
        shipped = read_shipped()
    except (ImportError, OSError, ValueError, LookupError, TypeError) as error:
        return damaged(error)
    return schedules(own, shipped, threads=_usable())


def _usable() -> int:
    return len(os.sched_getaffinity(0))
