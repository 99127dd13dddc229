"""Folders: that of temporary files, and the user's cache."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsegen.doctor.finding import Finding

_ROOM = 100e6
"""Bytes that a large model's library and the tuner's files fit in."""
_PRIVATE = 0o700
_CACHE = "cache folder"
_AGAIN = "what was compiled or measured is not kept, and is done again"


@dataclass(frozen=True)
class Folder:
    """A folder as the system shows it. `size` is that of its files, `free` the room left, in bytes."""

    path: Path
    exists: bool
    writable: bool
    noexec: bool = False
    free: int = 0
    owner: int = 0
    mode: int = 0
    size: int = 0


def look(path: Path, *, measured: bool = False) -> Folder:
    """Look at a folder; `measured` has the files in it added up.

    A folder that is not there is writable where it can be made. Raises OSError where the system does not let
    it be looked at.
    """
    if not path.exists():
        above = next(each for each in path.absolute().parents if each.exists())
        return Folder(path, exists=False, writable=_takes_files(above))
    there, system = path.stat(), os.statvfs(path)
    return Folder(
        path,
        exists=True,
        writable=_takes_files(path),
        noexec=bool(system.f_flag & os.ST_NOEXEC),
        free=system.f_bavail * system.f_frsize,
        owner=there.st_uid,
        mode=stat.S_IMODE(there.st_mode),
        size=_size(path) if measured else 0,
    )


def temporary_folder(environment: Mapping[str, str]) -> tuple[Folder | None, str]:
    """Where temporary files go, None for nowhere; and what TMPDIR names instead: "" where it is no other."""
    wanted = environment.get("TMPDIR", "")
    try:
        chosen = tempfile.gettempdir()
    except OSError:
        return None, wanted
    return look(Path(chosen)), wanted if wanted and Path(wanted).absolute() != Path(chosen).absolute() else ""


def temporary(folder: Folder | None, refused: str = "") -> Finding:
    """The folder of temporary files, and the one that TMPDIR names and that is refused.

    Code is made in memory, so that nothing is broken where it cannot be used: see the check gcc.
    """
    limits = "models compile in memory; tuning, and comparing with other engines, need such files"
    name, command = "temporary folder", "export TMPDIR=FOLDER"
    if folder is None:
        return Finding(name, "note", "there is none that can be written", limits, command)
    found = f"{folder.path}, {folder.free / 1e6:,.0f} MB free"
    if not folder.writable:
        return Finding(name, "note", f"{folder.path}, which cannot be written", limits, command)
    if refused:
        found += f"; TMPDIR names {refused}, which cannot be used"
        return Finding(name, "note", found, "temporary files go elsewhere than you asked", command)
    if folder.free < _ROOM:
        return Finding(name, "note", found, limits, f"df -h {folder.path}")
    if folder.noexec:
        consequence = (
            "code is loaded from memory; where the system bars that too, it cannot be loaded from here"
        )
        return Finding(name, "note", f"{found}, barred to execution (noexec)", consequence, command)
    return Finding(name, "ok", found, "compiling uses it where files in memory cannot be had; tuning always")


def no_cache(problem: str) -> Finding:
    """What is told where the environment names no folder that could be the cache."""
    return Finding(_CACHE, "note", problem, _AGAIN, "export SPARSEGEN_CACHE=/PATH/OF/FOLDER")


def cache(folder: Folder, *, user: int) -> Finding:
    """The cache of the user with this number: it is used where it is the user's own and nobody else's."""
    name, again = _CACHE, _AGAIN
    if not folder.exists:
        if folder.writable:
            return Finding(name, "ok", f"{folder.path}: not there yet", "it is made when first needed")
        found = f"{folder.path}: not there, and cannot be made"
        return Finding(name, "note", found, again, "export XDG_CACHE_HOME=FOLDER")
    found = f"{folder.path}: {folder.size / 1e6:,.1f} MB, mode {folder.mode:04o}"
    if folder.owner != user:
        found += f", owned by user {folder.owner}, not by you ({user})"
        consequence = f"it is refused, for others could put code there: {again}"
        return Finding(name, "note", found, consequence, "export XDG_CACHE_HOME=FOLDER")
    if not folder.writable:
        return Finding(name, "note", f"{found}, cannot be written", again, f"ls -ld {folder.path}")
    if folder.mode != _PRIVATE:
        consequence = (
            "compiled models are not kept there, for others may look in or write: they compile again"
        )
        return Finding(name, "note", found, consequence, f"chmod 700 {folder.path}")
    return Finding(name, "ok", found, "what was compiled or measured before is found there")


def _takes_files(path: Path) -> bool:
    """Whether files can be made in a folder, which permissions alone do not tell: root has them all."""
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def _size(path: Path) -> int:
    """Bytes of all files in a folder; what goes away meanwhile, or cannot be read, counts nothing."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += (Path(folder) / name).lstat().st_size
            except OSError:
                continue
    return total
