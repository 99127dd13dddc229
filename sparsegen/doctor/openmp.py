"""OpenMP: how many of its libraries a process has that runs a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sparsegen.doctor.finding import Finding

_LIBRARY = re.compile(r"lib(gomp|iomp|omp)\d*[-.]")
"""Files of GNU's, Intel's and LLVM's library."""


def mapped_libraries(maps: str) -> list[str]:
    """Paths of the OpenMP libraries in the text of a process's /proc/PID/maps, each once."""
    paths = (fields[5] for line in maps.splitlines() if len(fields := line.split(maxsplit=5)) == 6)
    return sorted({path for path in paths if _LIBRARY.match(Path(path).name)})


def openmp(libraries: Sequence[str] | None, failure: str = "") -> Finding:
    """The OpenMP libraries that are loaded with torch; None where torch could not be asked."""
    if libraries is None:
        return Finding(
            "OpenMP", "note", f"not known, as torch does not answer: {failure}", "see the check torch"
        )
    names = " and ".join(libraries)
    if not libraries:
        return Finding(
            "OpenMP",
            "note",
            "torch loads no OpenMP library",
            "kernels may run on one thread only",
            "python -c 'import torch; print(torch.__config__.parallel_info())'",
        )
    if len(libraries) == 1:
        return Finding("OpenMP", "ok", f"one library: {names}", "torch and our kernels share its threads")
    return Finding(
        "OpenMP",
        "note",
        f"{len(libraries)} libraries: {names}",
        "each has threads of its own on the same cores: models may be slow or crash; "
        "often LD_PRELOAD brings the second",
        "env | grep -E 'LD_PRELOAD|LD_LIBRARY_PATH'",
    )
