"""Arguments of public functions checked against their annotations: OptionError names the first wrong one.

    @typed
    def plan(model: nn.Module, *, goal: Literal["latency", "throughput"] = "latency") -> Plan: ...

Checked are classes, `None`, unions, `Literal`, numbers (a whole number is a number, true is neither), texts,
functions, tuples and what else has elements, and mappings; not what is of type `Any`, nor what an iterator
will give. Numbers of other types, such as NumPy's, reach the function as Python's own.
"""

from __future__ import annotations

import functools
import inspect
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from os import PathLike
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from sparsegen.errors import OptionError
from sparsegen.wording import is_unicode

P = ParamSpec("P")
R = TypeVar("R")

_SHOWN = 60  # characters of a wrong value
_HELD = (list, tuple, set, frozenset, str)
"""What has elements that can be looked at without taking them."""


def whole_number(value: object) -> int | None:
    """The whole number that a value stands for (`operator.index`), None for any other; true is none."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # whatever a caller gives
    except TypeError:
        return None


def plain_number(value: Any) -> Any:
    """A number of another type than Python's as Python's own, in tuples and lists too; else the value."""
    if type(value) in (tuple, list):
        return type(value)(map(plain_number, value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    whole = whole_number(value)
    return float(value) if whole is None and isinstance(value, Real) else value if whole is None else whole


def _same(value: Any) -> Any:
    return value


class _Kind(NamedTuple):
    """Whether a value is of an annotation, how a message says what that is, and what the function gets."""

    holds: Callable[[Any], bool]
    words: str
    asks: str = "give"
    plain: Callable[[Any], Any] = _same


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which raises OptionError for an argument that its annotation does not allow."""

    @functools.wraps(function)
    def checked(*args: P.args, **named: P.kwargs) -> R:
        by_position, rest, by_name = _parameters(function)
        taken = [_plain(name, by_name[name], value) for name, value in zip(by_position, args, strict=False)]
        others: Iterable[Any] = args[len(by_position) :]
        if rest is not None:
            others = (_plain(*rest, value) for value in others)
        given = {
            name: _plain(name, by_name[name], value) if name in by_name else value
            for name, value in named.items()
        }
        return function(*taken, *others, **given)  # type: ignore[arg-type]  # the same, by their kinds

    return checked


def _plain(name: str, kind: _Kind, value: Any) -> Any:
    """The value as the function gets it. Raises OptionError for one that is not of the kind."""
    if not kind.holds(value):
        raise _wrong(name, kind, value)
    return kind.plain(value)


@functools.cache
def _parameters(
    function: Callable[..., Any],
) -> tuple[tuple[str, ...], tuple[str, _Kind] | None, dict[str, _Kind]]:
    """Those by position, in order; `*args`; and the kinds of all that have a name, in order."""
    hints, rest = get_type_hints(function), None
    by_position, by_name = list[str](), dict[str, _Kind]()
    for each in inspect.signature(function).parameters.values():
        kind = _kind(hints.get(each.name, Any))
        if each.kind is each.VAR_POSITIONAL:
            rest = each.name, kind
        elif each.kind is not each.VAR_KEYWORD:
            by_name[each.name] = kind
            if each.kind is not each.KEYWORD_ONLY:
                by_position.append(each.name)
    return tuple(by_position), rest, by_name


def _wrong(name: str, kind: _Kind, value: Any) -> OptionError:
    plain = value is None or isinstance(value, str | int | float)
    shown = repr(value) if plain else f"of type {type(value).__name__}"
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} ..."
    return OptionError(f"{name} is {shown}: {kind.asks} {kind.words}")


def _kind(declared: Any) -> _Kind:
    origin, parts = get_origin(declared), get_args(declared)
    if origin is Literal:
        return _Kind(lambda x: isinstance(x, str) and x in parts, ", ".join(map(str, parts)), "choose of")
    if origin in (Union, types.UnionType):
        kinds = [_kind(each) for each in parts]
        *most, last = dict.fromkeys(each.words for each in kinds)
        words = f"{', '.join(most)} or {last}" if most else last
        return _Kind(
            lambda x: any(each.holds(x) for each in kinds),
            words,
            plain=lambda x: next(each.plain(x) for each in kinds if each.holds(x)),
        )
    if declared in _PLAIN:
        return _PLAIN[declared]
    if origin is not None:
        return _holder(origin, parts)
    if isinstance(declared, type) and not getattr(declared, "_is_protocol", False):
        article = "an" if declared.__name__[0] in "AEIOU" else "a"
        return _Kind(lambda x: isinstance(x, declared), f"{article} {declared.__name__}")
    return _ANY


def _holder(origin: Any, parts: tuple[Any, ...]) -> _Kind:
    """What holds others: a tuple, a sequence or another iterable, a mapping; or is called with them."""
    if origin is Callable:
        return _Kind(callable, "a function")
    if not isinstance(origin, type):
        return _ANY
    if issubclass(origin, PathLike):
        return _Kind(lambda x: isinstance(x, PathLike), "a path")
    kinds = [_ANY if each is Ellipsis else _kind(each) for each in parts]
    if issubclass(origin, Mapping):
        key, item = kinds
        return _Kind(
            lambda x: isinstance(x, Mapping) and all(key.holds(k) and item.holds(v) for k, v in x.items()),
            "a mapping" if item is _ANY else f"a mapping of {key.words} to {item.words}",
        )
    if issubclass(origin, tuple) and Ellipsis not in parts:
        return _Kind(
            lambda x: (
                isinstance(x, tuple)
                and len(x) == len(kinds)
                and all(kind.holds(each) for kind, each in zip(kinds, x, strict=True))
            ),
            f"a tuple of {', '.join(kind.words for kind in kinds)}",
        )
    if issubclass(origin, Iterable) and kinds:
        item, word = kinds[0], "a tuple" if issubclass(origin, tuple) else "a list"
        return _Kind(
            lambda x: isinstance(x, origin) and (not isinstance(x, _HELD) or all(map(item.holds, x))),
            f"{word}, each of it {item.words}" if item is not _ANY else word,
        )
    return _Kind(lambda x: isinstance(x, origin), f"a {origin.__name__}")


_ANY = _Kind(lambda x: True, "anything")
_PLAIN = {
    Any: _ANY,
    None: _Kind(lambda x: x is None, "None"),
    type(None): _Kind(lambda x: x is None, "None"),
    str: _Kind(is_unicode, "a text in Unicode"),
    bool: _Kind(lambda x: isinstance(x, bool), "true or false"),
    int: _Kind(lambda x: whole_number(x) is not None, "a whole number", plain=whole_number),
    float: _Kind(lambda x: isinstance(x, Real) and not isinstance(x, bool), "a number", plain=plain_number),
}
