"""Structures of arguments and results, as torch's pytrees write themselves: read without torch.

Tuples, lists and dicts need nothing. Other classes are torch's to know: where torch is loaded, and they are
registered there, they are made; elsewhere they cannot be.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparsegen_runtime.errors import DamageError

_SEQUENCES: dict[str, type[Any]] = {"builtins.tuple": tuple, "builtins.list": list}
_MAPPINGS: dict[str, type[Any]] = {"builtins.dict": dict, "collections.OrderedDict": OrderedDict}


class Structure(Protocol):
    """What a value is made of, but for its leaves, of which there are `count`."""

    @property
    def count(self) -> int:
        """How many leaves it has."""

    def built(self, leaves: Sequence[Any]) -> Any:
        """The value of these leaves."""

    def leaves_of(self, value: Any) -> list[Any] | None:
        """The leaves of a value of this structure; None for one of another."""


class UnknownClassError(Exception):
    """A structure has a class that is not known here; `name` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Node:
    """A leaf, of no `kind`; or a tuple, a list or a dict of parts: `keys` are a dict's."""

    kind: type[Any] | None = None
    keys: tuple[Any, ...] = ()
    parts: tuple[Node, ...] = ()

    def built(self, leaves: Sequence[Any]) -> Any:
        """The value of these leaves."""
        return self._from(iter(leaves))

    def _from(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        parts = [part._from(leaves) for part in self.parts]
        return self.kind(zip(self.keys, parts, strict=True)) if self.keys else self.kind(parts)

    def leaves_of(self, value: Any) -> list[Any] | None:
        """The leaves of a value of this structure, a dict's in whatever order; None for one of another."""
        if self.kind is None:
            return None if isinstance(value, (tuple, list, dict)) else [value]
        if type(value) is not self.kind or len(value) != len(self.parts):
            return None
        if self.kind in _MAPPINGS.values():
            if value.keys() != set(self.keys):
                return None
            value = [value[key] for key in self.keys]
        found = []
        for part, each in zip(self.parts, value, strict=True):
            leaves = part.leaves_of(each)
            if leaves is None:
                return None
            found += leaves
        return found

    @property
    def count(self) -> int:
        """How many leaves it has."""
        return 1 if self.kind is None else sum(part.count for part in self.parts)


@dataclass(frozen=True)
class _OfTorch:
    """A structure that torch's pytrees know."""

    pytree: Any
    spec: Any

    @property
    def count(self) -> int:
        return int(self.spec.num_leaves)

    def built(self, leaves: Sequence[Any]) -> Any:
        return self.pytree.tree_unflatten(list(leaves), self.spec)

    def leaves_of(self, value: Any) -> list[Any] | None:
        leaves, spec = self.pytree.tree_flatten(value)
        return list(leaves) if spec == self.spec else None


def read_structure(written: Any) -> Structure:
    """The structure that a plan has, of which null is a single leaf.

    Raises UnknownClassError for a class that nobody here knows, and LookupError, TypeError or ValueError for
    what is no structure.
    """
    if written is None:
        return Node()
    protocol, root = written
    if protocol != 1:
        raise DamageError(f"a structure of protocol {protocol}")
    try:
        return _node(root)
    except UnknownClassError:
        if "torch" not in sys.modules:
            raise
        return _of_torch(written)


def _node(written: Any) -> Node:
    name = written["type"]
    if name is None:
        return Node()
    parts = tuple(map(_node, written["children_spec"]))
    if name in _SEQUENCES:
        return Node(_SEQUENCES[name], (), parts)
    if name in _MAPPINGS:
        keys = tuple(json.loads(written["context"]))
        if len(set(keys)) != len(parts):
            raise DamageError(f"{len(parts)} parts of a dict of {len(keys)} keys")
        return Node(_MAPPINGS[name], keys, parts)
    raise UnknownClassError(str(name))


def describe(value: Any) -> str:
    """A value as one would write it, `*` for what is no tuple, list or dict."""
    return repr(_starred(value)).replace("'*'", "*")


def _starred(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _starred(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_starred(each) for each in value]
        return parts if isinstance(value, list) else tuple(parts)
    return "*"


def _of_torch(written: Any) -> Structure:
    from torch.utils import _pytree  # loaded before

    text = json.dumps(written)
    if "__enum__" in text:  # torch would import the module that it names
        raise UnknownClassError("an enumeration")
    try:
        return _OfTorch(_pytree, _pytree.treespec_loads(text))
    except Exception as error:  # torch's, of any type, for a class that is not registered
        raise UnknownClassError(str(error)) from error
