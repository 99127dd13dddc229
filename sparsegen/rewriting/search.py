"""The cheapest way to compute a site by what a device has: rules chained until all is supported.

A site is computed as it is, or by a rule, whose layers are sites again. The seconds of a way are those of the
supported operators that it ends in; the way of the fewest seconds wins. What a site becomes depends on
nothing else of the graph, so that the best ways of a rule's layers make the rule's best way: an AND-OR graph,
searched depth first. A site that is met again below itself is no way.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from sparsegen.devices import Estimate, Operator
from sparsegen.graph import Array, Layer, Shape
from sparsegen.rewriting.bounds import narrower, site_interval
from sparsegen.rewriting.draft import Approximation, Draft
from sparsegen.rewriting.rule import RefusalError, Rule, rules_for
from sparsegen.rewriting.site import Interval, Site

Price = Callable[[Operator], Estimate]
"""What an operator costs on the device, or, as the reason of the estimate, why it does not run there."""
_DEEPEST = 12  # rules in a chain


@dataclass(frozen=True, eq=False)
class Way:
    """How a site is computed by what the device has.

    layers: in its place, with their constants; `result` names its value. rules: by which it came, outermost
    first. approximations: what is not exact.
    """

    seconds: float
    layers: tuple[Layer, ...]
    result: str
    constants: Mapping[str, Array]
    rules: tuple[Rule, ...] = ()
    approximations: tuple[Approximation, ...] = ()


@dataclass(frozen=True)
class Tried:
    """A rule that serves a site, or not, and why not; seconds: of its best way, infinite for none."""

    rule: str
    seconds: float
    reason: str = ""


class Search:
    """Finds ways for one device. max_error: of each approximation; 0 for exact ways alone."""

    def __init__(self, price: Price, max_error: float = 0.0) -> None:
        self._price, self._max_error = price, max_error
        self._decided: dict[str, Rule | None] = {}
        self._above: list[str] = []
        self._cut: set[str] = set()  # sites above that ended a way

    def best(self, site: Site) -> Way | None:
        """The cheapest way, None where there is none."""
        estimate = self._price(site.operator)
        if estimate.supported:
            return Way(estimate.seconds, (site.layer,), site.layer.name, {})
        key = _key(site)
        if key in self._above or len(self._above) >= _DEEPEST:
            self._cut.add(key if key in self._above else self._above[0])
            return None
        if key in self._decided:
            chosen = self._decided[key]
            return None if chosen is None else self._by_rule(site, chosen)[0]
        self._above.append(key)
        try:
            ways = [(way, rule) for rule in rules_for(site.name) if (way := self._by_rule(site, rule)[0])]
        finally:
            self._above.pop()
            self._cut.discard(key)
        best = min(ways, key=lambda each: _rank(each[0]), default=None)
        if not self._cut:  # else the site may have other ways elsewhere
            self._decided[key] = None if best is None else best[1]
        return None if best is None else best[0]

    def tried(self, site: Site) -> list[Tried]:
        """Every rule for a site's operator, and what came of it."""
        self._above.append(_key(site))
        try:
            found = [(rule, *self._by_rule(site, rule)) for rule in rules_for(site.name)]
        finally:
            self._above.pop()
        return [
            Tried(rule.name, math.inf if way is None else way.seconds, reason) for rule, way, reason in found
        ]

    def _by_rule(self, site: Site, rule: Rule) -> tuple[Way | None, str]:
        """The best way that begins with a rule, or why there is none."""
        if rule.kind == "approximated" and not self._max_error:
            return None, "no error is allowed"
        draft = Draft(site, self._max_error)
        try:
            result = rule.rewrite(site, draft)
        except RefusalError as refusal:
            return None, str(refusal)
        return self._composed(site, rule, draft, result)

    def _composed(self, site: Site, rule: Rule, draft: Draft, result: str) -> tuple[Way | None, str]:
        shapes, constants = {**site.shapes}, {**site.constants, **draft.constants}
        shapes |= {name: array.shape for name, array in draft.constants.items()}
        layers, renamed, seconds = list[Layer](), dict[str, str](), 0.0
        kept, rules = dict(draft.constants), [rule]
        approximations, intervals = list(draft.approximations), dict(site.intervals)
        for layer in draft.layers:
            inner = _site(layer.renamed(renamed), shapes, constants, intervals)
            way = self.best(inner)
            if way is None:
                return None, f"it needs {inner.name}: {self._price(inner.operator).reason}"
            layers += way.layers
            kept |= way.constants
            constants |= way.constants
            rules += way.rules
            approximations += way.approximations
            renamed[layer.name] = way.result
            shapes |= {each.name: each.shape for each in way.layers}
            shapes |= {name: array.shape for name, array in way.constants.items()}
            seconds += way.seconds
            interval = narrower(site_interval(inner), draft.intervals.get(layer.name))
            if interval is not None:
                intervals[way.result] = narrower(intervals.get(way.result), interval) or interval
        found = renamed.get(result, result)
        return Way(seconds, tuple(layers), found, kept, tuple(rules), tuple(approximations)), ""


def _rank(way: Way) -> tuple[float, bool, int]:
    """The cheapest way is the best; of equally cheap ones an exact one, then that of fewer layers."""
    return way.seconds, bool(way.approximations), len(way.layers)


def _site(
    layer: Layer,
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
    intervals: Mapping[str, Interval],
) -> Site:
    reads = list(layer.reads())
    return Site(
        layer,
        {name: shapes[name] for name in reads},
        {name: constants[name] for name in reads if name in constants},
        {name: intervals[name] for name in reads if name in intervals},
    )


def site_of(
    layer: Layer,
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
    intervals: Mapping[str, Interval] | None = None,
) -> Site:
    """A layer of a graph as a site."""
    return _site(layer, shapes, constants, intervals or {})


def _key(site: Site) -> str:
    """What decides a site's ways: its core and step, shapes, constants, intervals; no names."""
    reads = list(dict.fromkeys(site.layer.reads()))
    numbers = {name: f"#{number}" for number, name in enumerate(reads)}
    layer = replace(site.layer.renamed(numbers), name="")
    found = hashlib.blake2b(digest_size=16)
    _add(found.update, layer)
    for name in reads:
        _add(found.update, (site.shapes[name], site.constants.get(name), site.intervals.get(name)))
    return found.hexdigest()


def _add(update: Callable[[bytes], None], value: Any) -> None:
    match value:
        case np.ndarray():
            update(f"{value.dtype}{value.shape}".encode())
            update(np.ascontiguousarray(value).tobytes())
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
