"""The folder of this user's caches: who may look into it, and where it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sparsegen.errors import FileError

FOLDER = "SPARSEGEN_CACHE"
"""The environment variable that names the folder; without it, XDG's for caches."""


def default_folder() -> Path:
    """The folder of this user's caches, whether it is there or not."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(FOLDER) or Path(home) / "sparsegen")


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone may use, where there is none.

    Raises FileError where it cannot be made, and for one that is another user's or that others may write to
    or look into: what lies there is run as code.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise FileError(
            f"the cache folder {folder} cannot be made: {error.strerror or error}; choose another with "
            f"cache_dir or {FOLDER}"
        ) from error
    if found.st_uid != os.geteuid():
        raise FileError(
            f"the cache folder {folder} is user {found.st_uid}'s, and code from it would run as user "
            f"{os.geteuid()}: choose another with cache_dir or {FOLDER}"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise FileError(
            f"the cache folder {folder} has mode {stat.S_IMODE(found.st_mode):04o}: others could put code "
            f"there, or look at weights; say chmod 700 {folder}, or choose another"
        )
