"""Files that a verb is asked to write: refused before any work; pictures in the format of their suffix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsegen.errors import FileError
from sparsegen.files import check_writable, is_replaceable, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("png", "svg", "pdf")
"""Formats of pictures, as suffixes of files."""
JSON = (".json", "")
PROGRAM = (".pt2",)
"""Of torch.export's programs, which are known by it."""
COMPILED = (".sparsegen", ".safetensors", "")
ARRAYS = (".npy", ".npz")
JOURNAL = (".jsonl", ".log", "")
_WRITTEN = {
    JSON: "JSON is",
    PROGRAM: "a program of torch.export's is",
    COMPILED: "a compiled model is",
    ARRAYS: "arrays of NumPy's are",
    JOURNAL: "a journal of trials is",
}
"""What goes into files that end so; "" stands for a name without a suffix."""
_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")
"""What looks like one: the .5 of net-0.5 does not."""
_DPI = 200

Reads = Mapping[str, Path | str | Sequence[Path] | None]
"""What a verb reads, by option or argument; a text is a model, which is a file if it ends in .pt2."""


def check_outputs(
    files: Mapping[str, Path | None],
    pictures: Mapping[str, Path | None] | None = None,
    *,
    suffixes: Mapping[str, tuple[str, ...]] | None = None,
    reads: Reads | None = None,
) -> None:
    """Check the paths that options of a command name, None where one was not given.

    suffixes: of the options of `files` whose files hold something other than JSON, see above. reads: what the
    command reads, none of which it may write.

    Raises FileError, which names the option, for a path that cannot be written, a suffix of what is not
    written, two options that name the same file, and one that names a file which is read.
    """
    pictures, suffixes = pictures or {}, suffixes or {}
    owners: dict[Path, str] = {}
    for option, path in {**files, **pictures}.items():
        if path is None:
            continue
        if option in pictures:
            _check_format(option, path)
        check_writable(option, path)
        if not is_replaceable(path):  # a stream takes what several write
            continue
        if option not in pictures:
            _check_suffix(option, path, suffixes.get(option, JSON))
        _check_unread(option, path, reads or {})
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
            f"let the path end in {_listed([f'.{each}' for each in PICTURES])}"
        )


def _check_suffix(option: str, path: Path, allowed: tuple[str, ...]) -> None:
    found = _SUFFIX.search(path.name)
    suffix = found[0] if found else ""
    if suffix not in allowed:
        named = [each for each in allowed if each]
        or_none = ", or have no suffix" if "" in allowed else ""
        raise FileError(
            f"{option} {path}: {_WRITTEN[allowed]} written there, which {suffix or 'no suffix'} does not "
            f"say: let the path end in {_listed(named)}{or_none}"
        )


def _check_unread(option: str, path: Path, reads: Reads) -> None:
    if not path.exists():
        return
    for name, given in reads.items():
        if isinstance(given, str):
            found = [Path(given)] if given.endswith(".pt2") else []
        else:
            found = [] if given is None else [given] if isinstance(given, Path) else list(given)
        for each in found:
            if each.exists() and path.samefile(each):
                raise FileError(
                    f"{option} {path} is {name} {each}, which would be lost: name another file to write"
                )


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _suffix(path: Path) -> str:
    return path.suffix[1:].lower()
