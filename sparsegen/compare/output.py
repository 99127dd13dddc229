"""Files that a comparison is written to: refused before the long work starts, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from sparsegen.compare.report import Comparison
from sparsegen.errors import SparsegenError


def check_outputs(*, json: Path | None, png: Path | None) -> None:
    """Raise SparsegenError for a path that cannot be written."""
    for option, path in (("--json", json), ("--png", png)):
        if path is not None:
            check_writable(option, path)


def write_outputs(comparison: Comparison, *, json: Path | None, png: Path | None) -> None:
    """Write the JSON and the picture of a comparison; a path that is None is left out.

    Raises SparsegenError where writing fails: the disk may have filled since the check.
    """
    try:
        if json is not None:
            json.write_text(comparison.to_json())
        if png is not None:
            # matplotlib takes a second to import.
            from sparsegen.compare.picture import save_picture

            save_picture(comparison, png)
    except OSError as error:
        raise SparsegenError(f"cannot write {error.filename or json or png}: {error.strerror}") from error


def check_writable(option: str, path: Path) -> None:
    """Raise SparsegenError, which names the command's option, for a path that cannot be written."""
    if path.is_dir():
        raise SparsegenError(f"{option} {path} is a folder: give the path of a file")
    if not path.parent.is_dir():
        raise SparsegenError(f"{option} {path}: there is no folder {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SparsegenError(
            f"{option} {path} cannot be written: choose another path, or allow writing to it"
        )
