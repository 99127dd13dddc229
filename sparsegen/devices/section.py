"""Reading a part of a device's file key by key: whatever is missing, wrong or left over is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsegen.devices.figures import Dimension, Figure, parse_figure
from sparsegen.errors import DeviceError, first_line
from sparsegen.wording import UNICODE, is_unicode


class Section:
    """A table of a TOML file, at `where`; paths in it start from `folder`.

    Every method takes a key, and raises DeviceError where its value is missing or wrong; `finish` raises it
    where there are keys that nobody took.
    """

    def __init__(self, where: str, content: Any, folder: Path = Path()) -> None:
        if not isinstance(content, Mapping):
            raise DeviceError(f"{where} is {content!r}: a table of keys and values is needed")
        self.where, self.content, self.folder = where, content, folder
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.content

    def take(self, key: str) -> Any:
        """The value of a key, as it is; None where there is none."""
        self._taken.add(key)
        return self.content.get(key)

    def need(self, key: str) -> Any:
        """The value of a key that has to be there."""
        if key not in self.content:
            known = ", ".join(self.content) or "nothing"
            raise DeviceError(f"{self.where} has no {key}: add it (there is {known})")
        return self.take(key)

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.need(key)
        if not isinstance(value, str) or not value.strip():
            raise DeviceError(f"{self.where}: {key} is {value!r}: a text is needed")
        if not is_unicode(value):
            raise DeviceError(f"{self.where}: {key} is {value!r}: {UNICODE} is needed")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise DeviceError(f"{self.where}: {key} is {value!r}: true or false is needed")
        return value

    def figure(self, key: str, dimension: Dimension, *, least: float = 0.0, above: bool = True) -> Figure:
        """A number with its unit, see `parse_figure`."""
        return parse_figure(self.need(key), dimension, f"{self.where}: {key}", least=least, above=above)

    def maybe_figure(self, key: str, dimension: Dimension) -> Figure | None:
        """As `figure`, or None where there is no such key."""
        return self.figure(key, dimension) if key in self else None

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number, 0 or more."""
        value = self.need(key) if default is None else self.take(key)
        if value is None:
            assert default is not None
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise DeviceError(f"{self.where}: {key} is {value!r}: a whole number, 0 or more, is needed")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts, each once."""
        value = self.need(key)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise DeviceError(f"{self.where}: {key} is {value!r}: a list of names is needed")
        twice = sorted({each for each in value if value.count(each) > 1})
        if twice:
            raise DeviceError(f"{self.where}: {key} names {', '.join(twice)} more than once")
        return tuple(value)

    def section(self, key: str) -> Section:
        """A table inside; empty where there is none."""
        return Section(f"{self.where}: {key}", self.take(key) if key in self else {}, self.folder)

    def sections(self, key: str) -> list[Section]:
        """The tables of a list, such as all of [[link]]; none where there is none."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise DeviceError(f"{self.where}: {key} is {value!r}: write it as [[{key}]]")
        return [Section(f"{self.where}: {key} {i + 1}", each, self.folder) for i, each in enumerate(value)]

    def finish(self, allowed: str = "") -> None:
        """Raise DeviceError for keys that nobody took; `allowed` are named beside those taken."""
        unknown = [key for key in self.content if key not in self._taken]
        if unknown:
            known = allowed or ", ".join(sorted(self._taken)) or "none"
            raise DeviceError(f"{self.where} has the unknown key {unknown[0]!r}: there can be {known}")


def read_toml(path: Path, what: str) -> Section:
    """The content of a TOML file, which is to be a `what`.

    Raises DeviceError for a file that cannot be read.
    """
    try:
        return Section(str(path), tomllib.loads(path.read_text()), path.parent)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read as {what}: {error.strerror or error}") from error
    except ValueError as error:
        raise DeviceError(f"{path} is not {what} in TOML: {first_line(error)}") from error
