"""Frozen dataclasses as JSON, read back strictly: each value has the type that its field declares.

Objects have all the fields that have no default, and none that is not declared; numbers are finite. A fault
names the place: `operators[3].seconds`. Types are dataclasses, `tuple[X, ...]`, `Mapping[str, X]`,
`X | None`, `Literal`, `str`, `int`, `float`, `bool`, and `Any`, for JSON that is kept as it stands.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sparsegen.errors import first_line
from sparsegen.wording import UNICODE, is_unicode

_PLAIN = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_BEYOND = 1 << 63

T = TypeVar("T")


def parse(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for what is no JSON, a field named twice, NaN or Infinity."""
    try:
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8: {first_line(error)}") from error


def written(value: Any) -> Any:
    """A dataclass, and what it holds, as what `json` writes; a field at its default is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        told = [each for each in fields(value) if getattr(value, each.name) != each.default]
        return {each.name: written(getattr(value, each.name)) for each in told}
    if isinstance(value, Mapping):
        return {key: written(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [written(each) for each in value]
    return value


def read(declared: type[T], found: Any, place: str = "") -> T:
    """The value of a declared type that `written` gave. Raises ValueError, which names the place, for others.

    place: what `found` is part of, for the messages.
    """
    return _read(declared, found, place)  # type: ignore[no-any-return]


def _read(declared: Any, found: Any, place: str) -> Any:
    origin, parts = get_origin(declared), get_args(declared)
    if is_dataclass(declared):
        return _read_fields(declared, found, place)
    if origin is tuple:
        if not isinstance(found, list):
            raise _wrong(place, found, "a list")
        return tuple(_read(parts[0], each, f"{place}[{number}]") for number, each in enumerate(found))
    if origin is Mapping:
        if not isinstance(found, dict):
            raise _wrong(place, found, "an object")
        return {
            _read_plain(str, key, f"a name in {place}"): _read(parts[1], each, _inside(place, key))
            for key, each in found.items()
        }
    if origin is Literal:
        if not isinstance(found, str) or found not in parts:
            raise _wrong(place, found, f"one of {', '.join(map(str, parts))}")
        return found
    if origin in (Union, types.UnionType):
        (other,) = (each for each in parts if each is not type(None))
        return None if found is None else _read(other, found, place)
    return found if declared is Any else _read_plain(declared, found, place)


def _read_plain(declared: Any, found: Any, place: str) -> Any:
    if declared is float and type(found) is int:
        found = float(found) if abs(found) < 1 << 1000 else math.inf
    if type(found) is not declared:
        raise _wrong(place, found, _PLAIN[declared])
    if declared is int and abs(found) >= _BEYOND:
        raise _wrong(place, found, "a whole number below 2^63")
    if declared is str and not is_unicode(found):
        raise _wrong(place, found, UNICODE)
    if declared is float and not math.isfinite(found):
        raise _wrong(place, found, "a finite number")
    return found


def _read_fields(declared: Any, found: Any, place: str) -> Any:
    if not isinstance(found, dict):
        raise _wrong(place, found, "an object")
    known = _fields(declared)
    for name in found:
        if name not in known:
            raise ValueError(f"{_inside(place, name)} is no field: there are {', '.join(known)}")
    values = {}
    for name, (field, kind) in known.items():
        if name in found:
            values[name] = _read(kind, found[name], _inside(place, name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{_inside(place, name)} is missing")
    return declared(**values)


@cache
def _fields(declared: type) -> dict[str, tuple[Field[Any], Any]]:
    kinds = get_type_hints(declared)
    return {each.name: (each, kinds[each.name]) for each in fields(declared)}


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _wrong(place: str, found: Any, expected: str) -> ValueError:
    shown = json.dumps(found, default=str)
    shown = shown if len(shown) <= 60 else f"{shown[:60]} ..."
    return ValueError(f"{place or 'all of it'} is {shown}, where {expected} is expected")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is there twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
