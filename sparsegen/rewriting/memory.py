"""What a search found of sites, so that it is not looked for again: by what decides it, names apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from sparsegen.graph import Array, Layer
from sparsegen.rewriting.draft import Approximation
from sparsegen.rewriting.rule import Rule
from sparsegen.rewriting.site import Site


@dataclass(frozen=True, eq=False)
class Way:
    """How a site is computed by what the device has.

    layers: in its place, with their constants; `result` names its value. rules: by which it came, outermost
    first. approximations: what is not exact. error: by how much the result is off at most, for inputs within
    the site's intervals; infinite where the errors' sum is not known.
    """

    seconds: float
    layers: tuple[Layer, ...]
    result: str
    constants: Mapping[str, Array]
    rules: tuple[Rule, ...] = ()
    approximations: tuple[Approximation, ...] = ()
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class Found:
    """The best way of a site, or that it has none of at most `limit` seconds.

    site: whose names the way has. It holds below all of the sites in `above`, which ended other ways, and for
    chains of `depth` rules or more before it: shorter ones may go on to a better way.
    """

    way: Way | None
    site: Site
    limit: float
    above: frozenset[str]
    depth: int

    def holds(self, above: Collection[str], limit: float) -> bool:
        """Whether this is all that there is to find below these sites, in so many seconds."""
        return (
            (self.way is not None or limit <= self.limit)
            and len(above) >= self.depth
            and self.above.issubset(above)
        )

    def at(self, site: Site) -> Way | None:
        """The way, by the names of another site that is decided by the same."""
        if self.way is None:
            return None
        old, new = self.site.layer, site.layer
        reads = dict(zip(old.reads(), new.reads(), strict=True))

        def name(value: str) -> str:
            return reads.get(value) or new.name + value.removeprefix(old.name)

        layers = [
            replace(layer.renamed({value: name(value) for value in layer.reads()}), name=name(layer.name))
            for layer in self.way.layers
        ]
        constants = {name(constant): array for constant, array in self.way.constants.items()}
        return replace(self.way, layers=tuple(layers), result=name(self.way.result), constants=constants)


def key_of(site: Site, allowed: float) -> str:
    """What decides a site's ways: its core and step, shapes, constants, intervals, error; no names."""
    reads = list(dict.fromkeys(site.layer.reads()))
    numbers = {name: f"#{number}" for number, name in enumerate(reads)}
    layer = replace(site.layer.renamed(numbers), name="")
    found = hashlib.blake2b(digest_size=16)
    _add(found.update, (layer, allowed))
    for name in reads:
        _add(found.update, (site.shapes[name], site.constants.get(name), site.intervals.get(name)))
    return found.hexdigest()


def _add(update: Callable[[bytes], None], value: Any) -> None:
    match value:
        case np.ndarray():
            update(f"{value.dtype}{value.shape}".encode())
            update(np.ascontiguousarray(value).tobytes())
        case tuple() if all(type(each) is int for each in value):  # as long as a dimension, at times
            update(f"{value};".encode())
        case tuple() | list():
            update(f"{len(value)}(".encode())
            for each in value:
                _add(update, each)
        case _ if is_dataclass(value) and not isinstance(value, type):
            update(type(value).__name__.encode())
            for each in fields(value):
                _add(update, getattr(value, each.name))
        case _:
            update(f"{type(value).__name__}:{value};".encode())
