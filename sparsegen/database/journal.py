"""The journal: a log of trials that survives whatever ends the process that writes it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from sparsegen.database.records import (
    SCHEMA,
    UNREADABLE,
    Definitions,
    Line,
    as_text,
    defines,
    lines_of,
    record_of,
)
from sparsegen.database.trial import Race, Trial
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import FileError, JournalError, warn
from sparsegen.files import check_writable

_HEADER = as_text({"type": "header", "schema": SCHEMA})
_HEADER_START = b'{"type":"header"'
_LOCKS = Path("/proc/locks")


@dataclass
class Log:
    """What a journal holds, in the order in which it was written.

    `skipped` are lines that could not be read: number, from 1, and reason.
    """

    trials: list[Trial] = field(default_factory=list)
    races: list[Race] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)

    def measured(self, setting: Setting) -> list[Trial]:
        """The trials of a setting: the only ones whose times count there."""
        return [trial for trial in self.trials if trial.setting == setting]

    def prior_for(self, setting: Setting) -> list[Trial]:
        """The trials of other machines, threads and versions: what a model may learn from, by features."""
        return [trial for trial in self.trials if trial.setting != setting]

    def alike(self, workload: Workload) -> Log:
        """What there is of workloads that differ in their sparsity at most, from any setting."""
        return Log(
            [trial for trial in self.trials if trial.workload.same_operator(workload)],
            [race for race in self.races if race.workload.same_operator(workload)],
        )

    def add(self, record: Trial | Race) -> None:
        """Add a record at the end."""
        if isinstance(record, Race):
            self.races.append(record)
        else:
            self.trials.append(record)


def read_journal(path: Path) -> Log:
    """Read a journal, which another process may be writing to: a torn last line is left out.

    Lines that cannot be read are skipped, and one warning tells of them. Raises SparsegenError for a
    file that cannot be read, that is no journal, or that a newer version wrote.
    """
    log, _ = parse_journal(path, read_bytes(path))
    return log


def read_bytes(path: Path) -> bytes:
    """A whole file; SparsegenError where there is none that can be read."""
    if path.is_dir():
        raise JournalError(f"{path} is a folder: give the path of a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error


def is_journal(data: bytes) -> bool:
    """Whether a file begins as a journal does, or as far as a journal's first line got."""
    torn = data.startswith(_HEADER_START) or _HEADER_START.startswith(data)
    return torn or _schema(data.partition(b"\n")[0]) is not None


def parse_journal(path: Path, data: bytes) -> tuple[Log, Definitions]:
    """What a journal's bytes hold; `path` is for messages. As `read_journal` otherwise."""
    log, known = Log(), Definitions()
    lines = data[: _whole(data)].split(b"\n")
    _check_header(path, data, lines[0])
    found: list[tuple[int, Line]] = []
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                found.append((number, _read_line(line, known)))
        except UNREADABLE as error:
            log.skipped.append((number, _reason(error)))
    # Only now: a definition that was damaged may have been written again after the first use.
    for number, record in found:
        if record["type"] == "header" or defines(record):
            continue
        try:
            log.add(record_of(record, known))
        except UNREADABLE as error:
            log.skipped.append((number, _reason(error)))
    log.skipped.sort()
    if log.skipped:
        _warn(path, log.skipped)
    return log, known


class Journal:
    """A journal open for writing, by one process alone; a context manager, made by `open`.

    What `append` returned from is on the disk and stays there, whatever happens to the process or
    the machine. The lock is the process's: it ends with it, however it ends, and children that it
    forked do not hold it.
    """

    def __init__(self, path: Path, descriptor: int, log: Log, known: Definitions, size: int) -> None:
        self.path = path
        self.log = log
        self._descriptor = descriptor
        self._known = known
        self._size = size
        self._torn = False
        _OPEN.add(self)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Journal:
        """Open a journal, or make a new one, and lock it; a torn last line is cut off.

        Lines that cannot be read stay, and one warning tells of them. Raises SparsegenError for a path
        that cannot be written, a file that is no journal or that a newer version wrote, and a
        journal that is open elsewhere.
        """
        path = Path(path)
        try:
            check_writable("journal", path)
        except FileError as error:
            raise JournalError(str(error)) from None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            _fail(path, error)
        try:
            _lock(path, descriptor)
            log, known, size = _recover(path, descriptor)
            return cls(path, descriptor, log, known, size)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                _fail(path, error)
            raise

    def append(self, record: Trial | Race) -> None:
        """Write a record and return once it is on the disk; `log` has it then, as it was written.

        Raises SparsegenError where it cannot be written, as on a full disk: the journal is then as it
        was before, and the same record may be tried again.
        """
        if self._descriptor < 0:
            raise ValueError(f"the journal {self.path} is closed")
        lines = lines_of(record, self._known)
        self._write(b"".join(map(as_text, lines)))
        for line in lines[:-1]:
            self._known.learn(line)
        self.log.add(record_of(lines[-1], self._known))

    def _write(self, data: bytes) -> None:
        try:
            if self._torn:
                os.ftruncate(self._descriptor, self._size)
            self._torn = True
            _write_all(self._descriptor, data)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
                self._torn = False
            if isinstance(error, OSError):
                _fail(self.path, error)
            raise
        self._size += len(data)
        self._torn = False

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_OPEN: weakref.WeakSet[Journal] = weakref.WeakSet()


def _close_in_child() -> None:
    """A forked child would hold the lock for as long as it lives, and write with its parent."""
    for journal in tuple(_OPEN):
        journal.close()


os.register_at_fork(after_in_child=_close_in_child)


def _lock(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise JournalError(f"journal {path} is no ordinary file: give another path")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = _lock_owner(descriptor)
        process = "this process" if owner == os.getpid() else "another process"
        raise JournalError(
            f"journal {path} is in use by {process}{f' (pid {owner})' if owner else ''}: "
            "wait for it to end, or give another journal"
        ) from error


def _lock_owner(descriptor: int) -> int | None:
    """The process that holds the lock of an open file, where the kernel tells.

    Its lines are `1: FLOCK ADVISORY WRITE pid major:minor:inode start end`.
    """
    inode = str(os.fstat(descriptor).st_ino)
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _LOCKS.read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                return int(words[4]) if int(words[4]) > 0 else None
    return None


def _recover(path: Path, descriptor: int) -> tuple[Log, Definitions, int]:
    """Read the locked file, cut off what is torn, and make sure that it ends with a newline.

    Returns what it holds, and its size in bytes.
    """
    with os.fdopen(os.dup(descriptor), "rb") as file:
        data = file.read()
    log, known = parse_journal(path, data)
    whole = _whole(data)
    missing = b"" if whole else _HEADER
    if whole and data[whole - 1 : whole] != b"\n":
        missing = b"\n"
    if whole < len(data):
        os.ftruncate(descriptor, whole)
    if missing:
        _write_all(descriptor, missing)
    if not whole:  # new, or its first writer was killed before this
        _sync_folder(path.parent)
    return log, known, whole + len(missing)


def _sync_folder(folder: Path) -> None:
    """Make sure that a new file is found in its folder after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(data: bytes) -> int:
    """Bytes of whole lines: up to the last newline, or the end if the last line lacks only that."""
    end = data.rfind(b"\n") + 1
    try:
        return len(data) if isinstance(json.loads(data[end:]), dict) else end
    except (ValueError, RecursionError):
        return end


def _check_header(path: Path, data: bytes, line: bytes) -> None:
    """Raise SparsegenError unless the first line is a header that we can read, or is not yet written."""
    if not line and is_journal(data):
        return
    schema = _schema(line)
    if schema is None:
        start = data[:40].decode(errors="replace")
        raise JournalError(
            f"{path} is no journal: it begins with {start!r}, not with {_HEADER.decode().strip()}; "
            "give a file that `sparsegen tune` wrote, or the path of a new one"
        )
    if schema > SCHEMA:
        raise JournalError(
            f"{path} is a journal of schema {schema}, and this version of sparsegen reads those up to "
            f"{SCHEMA}: install a newer sparsegen, or give another journal"
        )


def _schema(line: bytes) -> int | None:
    """The schema that a header tells; None for a line that is none."""
    try:
        header = json.loads(line)
        schema = header["schema"]
        return schema if header["type"] == "header" and type(schema) is int else None
    except UNREADABLE:
        return None


def _read_line(line: bytes, known: Definitions) -> Line:
    """The object of a line; definitions are learnt."""
    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise ValueError("it is no object with a type")
    if defines(found):
        known.learn(found)
    return found


def _reason(error: BaseException) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _warn(path: Path, skipped: list[tuple[int, str]]) -> None:
    number, reason = skipped[0]
    lines = "1 line was" if len(skipped) == 1 else f"{len(skipped)} lines were"
    warn(
        f"{path}: {lines} skipped, the first of them line {number} ({reason}); all others count. Delete "
        "such lines, or leave them: they do no harm"
    )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _fail(path: Path, error: OSError) -> NoReturn:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise JournalError(
            f"cannot write {path}: the disk is full; everything measured before is kept: make room and "
            "run the same command again"
        ) from error
    raise JournalError(f"cannot write {path}: {error.strerror}") from error
