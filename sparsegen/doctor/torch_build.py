"""torch: its version and how it was built; and our own native part, which is loaded beside it."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from sparsegen.doctor.finding import REINSTALL, Finding
from sparsegen.wording import threads_phrase

_CPU_BUILD = "pip install torch --index-url https://download.pytorch.org/whl/cpu"


@dataclass(frozen=True)
class TorchBuild:
    """The torch that is installed. `accelerator` is what it is built for beside CPUs: "CUDA 12.8", or ""."""

    version: str
    accelerator: str
    gpus: int
    vectors: str
    onednn: bool
    openmp: bool
    threads: int


def torch(build: TorchBuild | None, failure: str = "") -> Finding:
    """The build of torch; None where it could not be asked, for a reason."""
    if build is None:
        return Finding(
            "torch", "broken", f"torch cannot be imported: {failure}", "no model can be read", _CPU_BUILD
        )
    parts = {"oneDNN": build.onednn, "OpenMP": build.openmp}
    having = [
        build.accelerator or "CPU build",
        build.vectors,
        *(name for name, there in parts.items() if there),
    ]
    found = f"torch {build.version}: {', '.join(having)}, {threads_phrase(build.threads)}"
    missing = [name for name, there in parts.items() if not there]
    if missing:
        consequence = (
            "our kernels run on torch's OpenMP threads"
            if "OpenMP" in missing
            else "its dense rivals are slow"
        )
        return Finding("torch", "note", f"{found}; no {' and no '.join(missing)}", consequence, _CPU_BUILD)
    if build.accelerator and not build.gpus:
        return Finding(
            "torch",
            "note",
            f"{found}; no GPU",
            "it works, takes gigabytes more than the CPU build, and longer to import",
            _CPU_BUILD,
        )
    return Finding("torch", "ok", found, "models are read, and what has no kernel runs in it")


def own_part(version: str | None, native: str | None, failure: str = "") -> Finding:
    """Our version, and whether our native part loads: `native` is "" then, or why not.

    A version of None is that of a package that is not installed, a `native` of None one that was not tried.
    """
    found = f"sparsegen {version or 'not installed'}, Python {platform.python_version()}"
    if native:
        return Finding("sparsegen", "broken", f"{found}; {native}", "no model can run", REINSTALL)
    if version is None:
        consequence = "its versions are not known, and its command and schedules may be missing"
        return Finding("sparsegen", "note", found, consequence, REINSTALL)
    if native is None:
        return Finding(
            "sparsegen", "note", f"{found}; native part not tried: {failure}", "see the check torch"
        )
    return Finding("sparsegen", "ok", f"{found}; its native part loads", "models can run")
