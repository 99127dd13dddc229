"""Files that a verb is asked to write: refused before any work; pictures in the format of their suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sparsegen.errors import FileError
from sparsegen.files import check_writable, is_replaceable, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("png", "svg", "pdf")
"""Formats of pictures, as suffixes of files."""
_DPI = 200


def check_outputs(
    files: Mapping[str, Path | None], pictures: Mapping[str, Path | None] | None = None
) -> None:
    """Check the paths that options of a command name, None where one was not given.

    Raises FileError, which names the option, for a path that cannot be written, a picture of a format that
    cannot be drawn, and two options that name the same file.
    """
    pictures = pictures or {}
    owners: dict[Path, str] = {}
    for option, path in {**files, **pictures}.items():
        if path is None:
            continue
        if option in pictures:
            _check_format(option, path)
        check_writable(option, path)
        if not is_replaceable(path):  # a stream takes what several write
            continue
        other = owners.setdefault(path.resolve(), option)
        if other != option:
            raise FileError(
                f"{other} and {option} both name {path}: the one would overwrite the other; name two files"
            )


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture in the format that its path's suffix names; to a stream, PNG.

    Raises FileError for another suffix, and where writing fails.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # it takes a second to import

    _check_format("a picture", path)
    FigureCanvasAgg(figure)
    with replacing(path) as new:
        figure.savefig(new, format=_suffix(path) or "png", dpi=_DPI)


def _check_format(option: str, path: Path) -> None:
    if _suffix(path) not in PICTURES and (path.suffix or is_replaceable(path)):
        raise FileError(
            f"{option} {path}: {path.suffix or 'a path without a suffix'} is no format of pictures: "
            f"let the path end in {', '.join(f'.{each}' for each in PICTURES[:-1])} or .{PICTURES[-1]}"
        )


def _suffix(path: Path) -> str:
    return path.suffix[1:].lower()
