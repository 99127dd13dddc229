"""The memory of a process: all, its share, and what it alone has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ROLLUP = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Memory:
    """Bytes that a process has in memory: `rss`, all of them; `own`, those that it wrote, and no other has.

    `pss` counts a page that several have by its share. Pages of files are nobody's own: all who map the file
    have them in common.
    """

    rss: int
    pss: int
    own: int


def read_memory(path: Path = _ROLLUP) -> Memory | None:
    """This process's memory, by Linux; None where it does not tell."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()[1:]]  # the first one names addresses
        sizes = {name: int(size) << 10 for name, size, _ in lines}
        own = sizes["Private_Dirty:"] + sizes.get("Private_Hugetlb:", 0)
        return Memory(sizes["Rss:"], sizes["Pss:"], own)
    except (OSError, KeyError, ValueError):
        return None
