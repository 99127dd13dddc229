"""Files that a comparison is written to: refused before the long work starts, not after it."""

from __future__ import annotations

from pathlib import Path

from sparsegen.compare.report import Comparison
from sparsegen.files import check_writable, replacing, write_file


def check_outputs(*, json: Path | None, png: Path | None) -> None:
    """Raise SparsegenError for a path that cannot be written."""
    for option, path in (("--json", json), ("--png", png)):
        if path is not None:
            check_writable(option, path)


def write_outputs(comparison: Comparison, *, json: Path | None, png: Path | None) -> None:
    """Write the JSON and the picture of a comparison; a path that is None is left out.

    Raises SparsegenError where writing fails.
    """
    if json is not None:
        write_file(json, comparison.to_json())
    if png is not None:
        # matplotlib takes a second to import.
        from sparsegen.compare.picture import save_picture

        with replacing(png) as new:
            save_picture(comparison, new)
