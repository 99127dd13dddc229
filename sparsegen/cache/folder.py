"""The folder of this user's caches: who may look into it, and where it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sparsegen.errors import FileError, OptionError

FOLDER = "SPARSEGEN_CACHE"
"""The environment variable that names the folder; without it, XDG's for caches."""


OFF = "SPARSEGEN_NO_CACHE"
"""Environment variable: where it is set, no model is looked for or kept that nobody asked a folder for."""


def default_folder() -> Path:
    """The folder of this user's caches, whether it is there or not; `~` stands for the user's own.

    Raises FileError where SPARSEGEN_CACHE is no absolute path: a relative one would be another folder in each
    place that a program is started from. As XDG has it, a relative XDG_CACHE_HOME does not count.
    """
    given = os.environ.get(FOLDER)
    if given:
        folder = _with_home(given)
        if not folder.is_absolute():
            raise FileError(
                f"{FOLDER} is {given!r}: give the absolute path of a folder, or set {OFF}=1 to keep nothing"
            )
        return folder
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else _with_home("~/.cache")) / "sparsegen"


def given_folder(cache_dir: str | os.PathLike[str]) -> Path:
    """The folder that a caller names; `~` is the user's own. Raises OptionError for what is no path."""
    try:
        name = os.fspath(cache_dir)
    except TypeError:
        name = ""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise OptionError(f"cache_dir is {cache_dir!r}: give the path of a folder")
    return _with_home(name)


def _with_home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise FileError(
            f"the cache folder {name} cannot be told: {error}; name another in {FOLDER}"
        ) from error


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone may use, where there is none.

    Raises FileError where it cannot be made, and what `check_private` raises.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the cache folder {folder} cannot be made: {error.strerror or error}; choose another with "
            f"cache_dir or {FOLDER}"
        ) from error
    check_private(folder)


def check_private(folder: Path) -> None:
    """Raise FileError for a folder that is another user's or that others may write to or look into.

    What lies there is run as code. One that is not there is fine.
    """
    try:
        found = folder.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(
            f"the cache folder {folder} cannot be used: {error.strerror or error}; choose another with "
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
