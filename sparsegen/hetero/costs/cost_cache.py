"""Measured seconds, kept on disk: safe with many processes, and never more than a matter of time.

Beside them are the calls that were measured, for predictions to learn from (records of JSON, by setting, one
for calls that are alike), and plans that were found by measuring whole programs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from sparsegen.cache.folder import FOLDER, default_folder
from sparsegen.errors import ToolchainError

_SECONDS = 30.0  # to wait for another process that writes


def default_path() -> Path:
    """The file of costs of this user."""
    return default_folder() / "costs.sqlite"


class CostCache:
    """Seconds by key, in a file of SQLite's; None for a path keeps nothing.

    Raises ToolchainError where the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self, keys: Iterable[str]) -> dict[str, float]:
        """The seconds of those keys that are known."""
        if self._path is None or not self._path.exists():
            return {}
        wanted = set(keys)
        with self._errors(), closing(self._open()) as file:
            rows = file.execute("SELECT key, seconds FROM costs")
            return {key: seconds for key, seconds in rows if key in wanted}

    def write(self, seconds: Mapping[str, float]) -> None:
        """Keep seconds, in place of what was known of their keys."""
        if self._path is None or not seconds:
            return
        with self._errors():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(self._open()) as file, file:
                file.executemany("INSERT OR REPLACE INTO costs VALUES (?, ?)", seconds.items())

    def samples(self, setting: str) -> dict[str, float]:
        """The seconds of the calls that were measured in a setting, by their records."""
        if self._path is None or not self._path.exists():
            return {}
        with self._errors(), closing(self._open()) as file:
            return dict(file.execute("SELECT record, seconds FROM calls WHERE setting = ?", (setting,)))

    def keep_samples(self, setting: str, seconds: Mapping[str, float]) -> None:
        """Keep the seconds of calls, by their records, in place of what was known of calls alike."""
        if self._path is None or not seconds:
            return
        with self._errors():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            rows = [(setting, record, value) for record, value in seconds.items()]
            with closing(self._open()) as file, file:
                file.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", rows)

    def plan(self, key: str) -> str | None:
        """The text of a plan that was kept."""
        if self._path is None or not self._path.exists():
            return None
        with self._errors(), closing(self._open()) as file:
            found = file.execute("SELECT plan FROM plans WHERE key = ?", (key,)).fetchone()
            return None if found is None else str(found[0])

    def keep_plan(self, key: str, plan: str) -> None:
        """Keep the text of a plan, in place of one with this key."""
        if self._path is None:
            return
        with self._errors():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(self._open()) as file, file:
                file.execute("INSERT OR REPLACE INTO plans VALUES (?, ?)", (key, plan))

    def _open(self) -> sqlite3.Connection:
        assert self._path is not None
        file = sqlite3.connect(self._path, timeout=_SECONDS)
        file.execute("CREATE TABLE IF NOT EXISTS costs (key TEXT PRIMARY KEY, seconds REAL NOT NULL)")
        file.execute(
            "CREATE TABLE IF NOT EXISTS calls (setting TEXT NOT NULL, record TEXT NOT NULL, "
            "seconds REAL NOT NULL, PRIMARY KEY (setting, record)) WITHOUT ROWID"
        )
        file.execute("CREATE TABLE IF NOT EXISTS plans (key TEXT PRIMARY KEY, plan TEXT NOT NULL)")
        return file

    def _errors(self) -> _FileErrors:
        return _FileErrors(self._path)


class _FileErrors:
    """Turns the errors of the file into one that says what to do."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise ToolchainError(
                f"the file of measured costs {self._path} cannot be used: {error}; delete it, or name "
                f"another folder in {FOLDER}"
            ) from error
