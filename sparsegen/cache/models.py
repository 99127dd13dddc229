"""Compiled models in a folder: a file a model, the oldest used ones given up where they are too many."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsegen.cache.folder import check_private, default_folder, make_private
from sparsegen.errors import FileError, SparsegenError
from sparsegen.runtime.artefact.read import read_programs
from sparsegen.runtime.artefact.save import save_programs
from sparsegen.runtime.program import Program

MOST_BYTES = 4 << 30
"""Of all models in a folder."""
_SUFFIX = ".sparsegen"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A model that is kept: its file, its bytes, and when it was used last, in seconds since 1970."""

    path: Path
    bytes: int
    used: float


class ModelCache:
    """The models in a folder, by key; safe with many processes: files appear whole, and may go at any time.

    make_folder: make it where it is not there; those who only look need none.

    Raises FileError for a folder that is not the user's own and private.
    """

    def __init__(
        self, folder: Path | None = None, most_bytes: int = MOST_BYTES, *, make_folder: bool = True
    ) -> None:
        self.folder = (folder or default_folder()) / "models"
        self.most_bytes = most_bytes
        prepare = make_private if make_folder else check_private
        prepare(self.folder.parent)
        prepare(self.folder)

    def find(self, key: str) -> list[Program] | None:
        """The programs of a key, with their weights checked; None where there are none, or damaged ones."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            programs = read_programs(path, verify=True)
            os.utime(path)
        except (SparsegenError, OSError) as error:
            _log.warning("the cached model %s is given up, and made anew: %s", path, error)
            self._try_to_remove(path)
            return None
        return programs

    def keep(self, key: str, programs: Sequence[Program]) -> None:
        """Keep programs, and give up those used longest ago where all are too many bytes.

        What cannot be written down or has no room is not kept: the log says why.
        """
        try:
            save_programs(self._path(key), programs)
        except (SparsegenError, OSError) as error:
            _log.info("the compiled model is not kept: %s", error)
            return
        left = self.most_bytes
        for each in sorted(self.kept(), key=lambda kept: kept.used, reverse=True):
            left -= each.bytes
            if left < 0 and each.path != self._path(key):
                self._try_to_remove(each.path)

    def kept(self) -> Iterator[Kept]:
        """All models that are kept."""
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(FileNotFoundError):  # another process gave it up
                found = path.stat()
                yield Kept(path, found.st_size, found.st_mtime)

    def clear(self) -> list[Kept]:
        """Give up all models; those that were there."""
        gone = list(self.kept())
        for each in gone:
            self._remove(each.path)
        return gone

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _try_to_remove(self, path: Path) -> None:
        """Remove what is of no use; a model compiles without that, too."""
        try:
            self._remove(path)
        except FileError as error:
            _log.warning("%s", error)

    def _remove(self, path: Path) -> None:
        """Remove a model, or a folder that lies in its place. Raises FileError where that fails."""
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"cannot remove {path}: {error.strerror or error}") from error
