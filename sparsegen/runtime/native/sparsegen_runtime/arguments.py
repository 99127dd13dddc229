"""The arguments of a call, bound by position and by name as the model was compiled with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsegen_runtime.errors import InputError


def bound(
    names: Sequence[str],
    positional: int,
    fixed: Mapping[int, Any],
    inputs: Sequence[Any],
    named: Mapping[str, Any],
) -> list[Any]:
    """The arguments in the order of their names, "" for one that has none.

    The first `positional` ones may be given by position. Those in `fixed`, by their place, may be left out.
    Raises InputError for other names, or another number.
    """
    takes = f"the model takes {_listed(names, positional)}"
    if len(inputs) > positional:
        raise InputError(f"{takes}; {len(inputs)} were given by position")
    arguments: list[Any] = [*inputs, *[_MISSING] * (len(names) - len(inputs))]
    for name, value in named.items():
        place = list(names).index(name) if name and name in names else None
        if place is None:
            raise InputError(f"{takes}; there is no '{name}' among its inputs")
        if arguments[place] is not _MISSING:
            raise InputError(f"'{name}' is given twice, by position and by name")
        arguments[place] = value
    for place, name in enumerate(names):
        if arguments[place] is _MISSING:
            if place not in fixed:
                raise InputError(f"{takes}; {name or f'argument {place}'} is missing")
            arguments[place] = fixed[place]
    return arguments


def without_fixed(leaves: Sequence[Any], names: Sequence[str], fixed: Mapping[int, Any]) -> list[Any]:
    """The leaves, which bear names, but for those that are `fixed`, by their place.

    Raises InputError where one of these is not what the model was compiled with.
    """
    for place, value in fixed.items():
        given = leaves[place]
        if type(given) is not type(value) or given != value:
            found = "a tensor" if hasattr(given, "dtype") else repr(given)
            raise InputError(
                f"{names[place]} is {found}; the model was compiled with {value!r}: compile once per value"
            )
    return [leaf for place, leaf in enumerate(leaves) if place not in fixed]


def nested_otherwise(given: str, needed: str) -> InputError:
    """What to raise for arguments of another structure."""
    return InputError(
        f"the arguments are nested otherwise than those that the model was compiled with: {given} was given, "
        f"{needed} is needed"
    )


_MISSING = object()


def _listed(names: Sequence[str], positional: int) -> str:
    """`'input_ids' by position and 'attention_mask' by name`."""
    listed = [f"'{name}'" if name else f"argument {place}" for place, name in enumerate(names)]
    parts = ((listed[:positional], "position"), (listed[positional:], "name"))
    return " and ".join(f"{', '.join(part)} by {how}" for part, how in parts if part)
