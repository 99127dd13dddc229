"""Memory: whether the system grants large pages."""

from __future__ import annotations

from pathlib import Path

from sparsegen.doctor.finding import Finding

_FOLDER = "sys/kernel/mm/transparent_hugepage"


def huge_pages(root: Path) -> Finding:
    """Transparent huge pages, which models ask for. `root` is where the system's files are: /."""
    enabled, defrag = (_chosen(root / _FOLDER / name) for name in ("enabled", "defrag"))
    if not enabled:
        return _refused("the system does not tell of any", "")
    if enabled == "never":
        return _refused("never", f"echo madvise | sudo tee /{_FOLDER}/enabled")
    found = f"{enabled}, defrag {defrag or 'not told'}"
    if defrag == "never":
        return Finding(
            "huge pages",
            "note",
            found,
            "models get them only where memory is not in pieces: they may be slower after a long uptime",
            f"echo madvise | sudo tee /{_FOLDER}/defrag",
        )
    return Finding("huge pages", "ok", found, "weights and activations lie on pages of 2 MiB")


def _refused(found: str, command: str) -> Finding:
    consequence = "weights and activations lie on pages of 4 KiB: large models miss the TLB, and are slower"
    return Finding("huge pages", "note", found, consequence, command)


def _chosen(path: Path) -> str:
    """The word in brackets of a setting's file: `always [madvise] never`; "" where there is none."""
    try:
        return path.read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return ""
