"""Files that a comparison is written to."""

from __future__ import annotations

from pathlib import Path

from sparsegen.compare.report import Comparison
from sparsegen.files import write_file


def write_outputs(comparison: Comparison, *, json: Path | None, png: Path | None) -> None:
    """Write the JSON and the picture of a comparison; a path that is None is left out.

    Raises SparsegenError where writing fails.
    """
    if json is not None:
        write_file(json, comparison.to_json())
    if png is not None:
        # matplotlib takes a second to import.
        from sparsegen.compare.picture import draw
        from sparsegen.outputs import save_picture

        save_picture(draw(comparison), png)
