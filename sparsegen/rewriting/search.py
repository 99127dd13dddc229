"""The cheapest way to compute a site by what a device has: rules chained until all is supported.

A site is computed as it is, or by a rule, whose layers are sites again. The seconds of a way are those of the
supported operators that it ends in; the way of the fewest seconds wins. What a site becomes depends on
nothing else of the graph, so that the best ways of a rule's layers make the rule's best way: an AND-OR graph,
searched depth first. A site that is met again below itself is no way.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparsegen.devices import Estimate
from sparsegen.graph import Layer
from sparsegen.rewriting.bounds import narrower, site_interval
from sparsegen.rewriting.draft import Draft, Price
from sparsegen.rewriting.error_bounds import result_error
from sparsegen.rewriting.fits import least_error
from sparsegen.rewriting.memory import Found, Way, key_of
from sparsegen.rewriting.rule import RefusalError, Rule, rules_for
from sparsegen.rewriting.site import Interval, Site, site_of

_DEEPEST = 12  # rules in a chain
_CLEARLY = 1.1  # times as long takes what is clearly dearer
_TOLD = 2.0  # times the cheapest way's seconds: what other ways take is told up to here
_DEARER = "it takes much longer than the cheapest way"
_UNKNOWN = "how errors of its parts add up is not known: no calibration tells its values"
_NUMBER = re.compile(r"\d[\d,]*(?!\w)")
_TIGHTER = 5  # times that less error is allowed of a rule's parts


@dataclass(frozen=True)
class Tried:
    """A rule that serves a site, or not, and why not; seconds: of its best way, infinite for none."""

    rule: str
    seconds: float
    reason: str = ""


class Search:
    """Finds ways for one device.

    max_error: of a pointwise operator's way as a whole, however many approximations it is made of; of a
    larger operator's, such as an LSTM, of each pointwise operator in it. 0 for exact ways alone.
    """

    def __init__(self, price: Price, max_error: float = 0.0) -> None:
        self.price: Price = functools.cache(price)  # an operator is met many times
        self._max_error = max_error
        self._found: dict[str, Found] = {}
        self._tried: dict[str, list[Tried]] = {}
        self._above: list[str] = []
        self._cut: set[str] = set()  # sites above that ended a way
        self._too_long = False  # whether a chain ended as it had too many rules

    def best(self, site: Site) -> Way | None:
        """The cheapest way, None where there is none."""
        return self._best(site, self._max_error, math.inf)

    def choose(self, site: Site, seen: Site) -> tuple[Way | None, Mapping[str, Interval]]:
        """The way that is taken, and what its inputs have to lie in: nothing where they may be anything.

        site: with what its inputs lie in whatever the model is given. seen: the same site with what
        calibration saw them lie in. A way that relies on that is taken where it is clearly cheaper than one
        that holds for all inputs, or where there is no such way.
        """
        way = self.best(site)
        ranges = {name: each for name, each in seen.intervals.items() if site.intervals.get(name) != each}
        if not ranges or (way is not None and not way.rules):
            return way, {}
        limit = math.inf if way is None else way.seconds / _CLEARLY
        relying = self._best(seen, self._max_error, limit)
        return (way, {}) if relying is None else (relying, ranges)

    def tried(self, site: Site) -> list[Tried]:
        """Every rule for a site's operator, and what came of it."""
        key = key_of(site, self._max_error)
        if key not in self._tried:
            best = self.best(site)
            limit = math.inf if best is None else _TOLD * best.seconds
            self._above.append(key)
            try:
                rules = rules_for(site.name)
                found = [(rule, *self._by_rule(site, rule, self._max_error, limit)) for rule in rules]
            finally:
                self._above.pop()
            self._tried[key] = [
                Tried(rule.name, math.inf if way is None else way.seconds, reason)
                for rule, way, reason in found
            ]
        return self._tried[key]

    def _best(self, site: Site, allowed: float, limit: float) -> Way | None:
        """The cheapest way that takes at most `limit` seconds."""
        estimate = self.price(site.operator)
        if estimate.supported:
            return Way(estimate.seconds, (site.layer,), site.layer.name, {})
        key = key_of(site, allowed)
        if key in self._above:
            self._cut.add(key)
            return None
        if len(self._above) >= _DEEPEST:
            self._too_long = True
            return None
        found = self._found.get(key)
        if found is None or not found.holds(self._above, limit):
            found = self._found[key] = self._search(site, key, allowed, limit)
        self._cut |= found.above
        self._too_long |= found.depth > 0
        way = found.at(site)
        return None if way is None or way.seconds > limit else way

    def _search(self, site: Site, key: str, allowed: float, limit: float) -> Found:
        """The best way by any of the rules, and what it depends on."""
        outside = self._cut, self._too_long
        self._cut, self._too_long = set(), False
        self._above.append(key)
        best, least = None, limit
        try:
            # The approximated ones, of few layers mostly, come first: their ways end dearer ones early.
            for rule in sorted(rules_for(site.name), key=lambda rule: rule.kind):
                way, _ = self._by_rule(site, rule, allowed, least)
                if way is not None and (best is None or _rank(way) < _rank(best)):
                    best, least = way, way.seconds
        finally:
            self._above.pop()
            above, depth = frozenset(self._cut - {key}), len(self._above) if self._too_long else 0
            self._cut, self._too_long = outside
        return Found(best, site, limit, above, depth)

    def _by_rule(self, site: Site, rule: Rule, allowed: float, limit: float) -> tuple[Way | None, str]:
        """The best way that begins with a rule, or why there is none of at most `limit` seconds.

        Where the errors of its parts add up to more than is allowed, less is allowed of each.
        """
        if rule.kind == "approximated" and not allowed:
            return None, "no error is allowed"
        draft = Draft(site, allowed, self.price, limit)
        try:
            result = rule.rewrite(site, draft)
        except RefusalError as refusal:
            return None, str(refusal)
        if rule.within_limits and (same := self._same_reason(site, draft)):
            return None, f"what it makes is refused, too: {same}"
        inner, error = allowed, math.inf
        costs = [self.price(operator) for operator in draft.operators()]
        lacking = [layer.name for layer, cost in zip(draft.layers, costs, strict=True) if not cost.supported]
        if allowed and lacking and site.step is not None:
            least = self._least_error(site, draft, lacking, allowed)
            if least > allowed:
                few = f"its parts would take too many ReLUs to err by no more than {allowed:.3g} together"
                return None, _UNKNOWN if math.isinf(least) else few
        for _ in range(_TIGHTER):
            way, reason = self._composed(site, rule, draft, result, inner, limit, _left(costs))
            if way is None or site.step is None or way.error <= allowed:
                return way, reason
            error = way.error
            if math.isinf(error):
                return None, _UNKNOWN
            own = sum(each.error for each in draft.approximations)
            if own >= allowed:
                break
            inner *= _rounded_down((allowed - own) / (error - own))
        return None, f"the errors of its parts add up to {error:.3g}, and {allowed:.3g} is allowed"

    def _same_reason(self, site: Site, draft: Draft) -> str:
        """Why a draft's operator of the site's name is refused, where that is as bad; else ""."""
        own = self.price(site.operator).reason
        made = (site_of(layer, draft.shapes, {}, {}) for layer in draft.layers)
        reasons = (self.price(each.operator).reason for each in made if each.name == site.name)
        return next((reason for reason in reasons if _as_bad(reason, own)), "")

    def _composed(
        self,
        site: Site,
        rule: Rule,
        draft: Draft,
        result: str,
        allowed: float,
        limit: float,
        left: Sequence[float],
    ) -> tuple[Way | None, str]:
        """The rule's layers by their best ways; each errs by at most `allowed`.

        left: the seconds that the layers after each one take at the least.
        """
        shapes, constants = {**site.shapes}, {**site.constants, **draft.constants}
        shapes |= {name: array.shape for name, array in draft.constants.items()}
        layers, renamed, seconds = list[Layer](), dict[str, str](), 0.0
        kept, rules, errors = dict(draft.constants), [rule], dict[str, float]()
        approximations, intervals = list(draft.approximations), dict(site.intervals)
        for layer, later in zip(draft.layers, left, strict=True):
            inner = site_of(layer.renamed(renamed), shapes, constants, intervals)
            way = self._best(inner, allowed, limit - seconds - later)
            if way is None:
                missing = f"it needs {inner.name}: {self.price(inner.operator).reason}"
                return None, missing + (", or takes much longer" if math.isfinite(limit) else "")
            layers += way.layers
            kept |= way.constants
            constants |= way.constants
            rules += way.rules
            approximations += way.approximations
            renamed[layer.name] = way.result
            shapes |= {each.name: each.shape for each in way.layers}
            shapes |= {name: array.shape for name, array in way.constants.items()}
            seconds += way.seconds
            if seconds > limit:
                return None, _DEARER
            errors[way.result] = result_error(inner, errors) + way.error
            interval = narrower(site_interval(inner), draft.intervals.get(layer.name))
            if interval is not None:
                intervals[way.result] = narrower(intervals.get(way.result), interval) or interval
        found = renamed.get(result, result)
        error = errors.get(found, 0.0) + sum(each.error for each in draft.approximations)
        return Way(seconds, tuple(layers), found, kept, tuple(rules), tuple(approximations), error), ""

    def _least_error(self, site: Site, draft: Draft, lacking: Sequence[str], allowed: float) -> float:
        """What the result is off by at the least, if that is more than is allowed; else something less.

        However many ReLUs approximate its functions: those of the layers that the device lacks, by name, of
        which those do not count that have an exact way.
        """
        inner, least = list[Site](), dict[str, float]()
        constants, intervals = {**site.constants, **draft.constants}, dict(site.intervals)
        for layer in draft.layers:
            inner.append(site_of(layer, draft.shapes, constants, intervals))
            if layer.name in lacking:
                least[layer.name] = least_error(inner[-1])
            interval = narrower(site_interval(inner[-1]), draft.intervals.get(layer.name))
            if interval is not None:
                intervals[layer.name] = interval
        if not any(least.values()) or _last_error(inner, least) <= allowed:
            return 0.0
        for each in inner:  # it takes longer to find out whether there is an exact way
            if least.get(each.layer.name) and self._best(each, 0.0, math.inf) is not None:
                least[each.layer.name] = 0.0
        return _last_error(inner, least)


def _left(costs: Sequence[Estimate]) -> list[float]:
    """Of each layer, what those after it take at the least: what the device has, nothing for the rest."""
    seconds = [cost.seconds if cost.supported else 0.0 for cost in reversed(costs)]
    return [*itertools.accumulate(seconds[:-1], initial=0.0)][: len(costs)][::-1]


def _last_error(sites: Sequence[Site], own: Mapping[str, float]) -> float:
    """How far the last site's result is off, where each one adds an error of its own."""
    errors: dict[str, float] = {}
    for site in sites:
        name = site.layer.name
        errors[name] = result_error(site, errors) + own.get(name, 0.0)
    return errors[name] if sites else 0.0


def _as_bad(reason: str, own: str) -> bool:
    """Whether a reason is the same as another, with numbers that are no smaller."""
    numbers = [[int(each.replace(",", "")) for each in _NUMBER.findall(text)] for text in (reason, own)]
    return _NUMBER.sub("", reason) == _NUMBER.sub("", own) and all(
        made >= before for made, before in zip(*numbers, strict=True)
    )


def _rounded_down(share: float) -> float:
    """To a power of 2, below 1, so that sites are met again with the same error."""
    return min(0.5, 2.0 ** math.floor(math.log2(share)))


def _rank(way: Way) -> tuple[float, bool, int]:
    """The cheapest way is the best; of equally cheap ones an exact one, then that of fewer layers."""
    return way.seconds, bool(way.approximations), len(way.layers)
