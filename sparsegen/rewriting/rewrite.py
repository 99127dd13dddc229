"""A graph rewritten for a device: every operator that it lacks, by the cheapest way that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial

from sparsegen.devices.operators import described
from sparsegen.frontend.fuse import fuse_epilogues
from sparsegen.frontend.simplify import remove_unread
from sparsegen.graph import Layer, LayerGraph
from sparsegen.rewriting.bounds import note_intervals, site_interval
from sparsegen.rewriting.draft import Approximation, Price
from sparsegen.rewriting.memory import Way
from sparsegen.rewriting.parts import parts_of
from sparsegen.rewriting.search import Search, Tried
from sparsegen.rewriting.site import Interval, Site, site_of


@dataclass(frozen=True)
class Replaced:
    """An operator that the device lacks, and what became of it.

    layer: of the graph, whose core or step it is. reason: why the device does not run it. rules: by which it
    was replaced, outermost first; none: it stays. error: by how much its result is off at most; infinite
    where the errors of a larger operator's parts do not tell. ranges: where that holds, and what replaces it
    is of use: what its inputs, by name, have to lie in, as they do on calibration inputs; none where it holds
    for all inputs.
    """

    layer: str
    operator: str
    reason: str
    rules: tuple[str, ...]
    approximations: tuple[Approximation, ...]
    error: float
    ranges: Mapping[str, Interval]
    _try: Callable[[], Sequence[Tried]] = field(compare=False, repr=False)

    @cached_property
    def tried(self) -> tuple[Tried, ...]:
        """All rules for it, with what came of each: found out when it is asked for."""
        return tuple(self._try())

    @property
    def word(self) -> str:
        """What it is: "decomposed", "approximated", or "unsupported"."""
        if not self.rules:
            return "unsupported"
        return "approximated" if self.approximations else "decomposed"


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A graph for a device, and what was replaced in it.

    seconds: of the operators in the place of a layer's, for each layer of which something was replaced.
    """

    graph: LayerGraph
    replaced: tuple[Replaced, ...]
    seconds: Mapping[str, float]

    @property
    def unsupported(self) -> tuple[Replaced, ...]:
        """What stays as it was."""
        return tuple(each for each in self.replaced if not each.rules)

    @property
    def ranged(self) -> tuple[Replaced, ...]:
        """What was replaced by what holds on the ranges of calibration alone."""
        return tuple(each for each in self.replaced if each.ranges)


class Rewriter:
    """Rewrites graphs for one device; what it finds out about operators serves all of them."""

    def __init__(self, price: Price) -> None:
        self.price = cache(price)
        self._searches: dict[float, Search] = {}

    def search(self, max_error: float) -> Search:
        """The search of ways that may err so much."""
        return self._searches.setdefault(max_error, Search(self.price, max_error))


def rewrite(
    graph: LayerGraph,
    device: Price | Rewriter,
    *,
    max_error: float | Mapping[str, float] = 0.0,
    intervals: Mapping[str, Interval] | None = None,
) -> Rewritten:
    """The graph by what a device has; its price tells what that is, and costs.

    max_error: that a pointwise operator's result may have, of all or by layer; 0: none is approximated. Of a
    larger operator, such as an LSTM, it holds for each pointwise operator in it.
    intervals: what values lie in on calibration inputs, by name; what relies on that says so in its
    `ranges`. The graph itself stays as it is. What no rule serves stays in the result, too: see
    `Rewritten.unsupported`.
    """
    rewriter = device if isinstance(device, Rewriter) else Rewriter(device)
    made = _Made(graph, intervals or {})
    for layer in graph.layers:
        if rewriter.price(described(layer, made.shapes, made.constants.keys())).supported:
            made.keep(layer.renamed(made.renamed))
            continue
        error = max_error.get(layer.name, 0.0) if isinstance(max_error, Mapping) else max_error
        for part in parts_of(layer.renamed(made.renamed), made.shapes):
            made.replace(layer.name, part.renamed(made.renamed), rewriter.search(error))
    outputs = tuple(made.renamed.get(name, name) for name in graph.outputs)
    whole = replace(graph, layers=made.layers, outputs=outputs, constants=made.constants)
    fused = remove_unread(fuse_epilogues(remove_unread(whole)))
    return Rewritten(fused, tuple(made.replaced), made.seconds)


class _Made:
    """The graph so far: its layers, what values are called now, and what is known of them."""

    def __init__(self, graph: LayerGraph, intervals: Mapping[str, Interval]) -> None:
        self.layers: list[Layer] = []
        self.shapes, self.constants = graph.shapes(), dict(graph.constants)
        self.renamed: dict[str, str] = {}
        self.replaced: list[Replaced] = []
        self.seconds: dict[str, float] = {}
        self._seen, self._sure = dict(intervals), dict[str, Interval]()

    def keep(self, layer: Layer) -> None:
        """Add a layer as it is, and note what its values lie in, where that follows."""
        self.layers.append(layer)
        parts = parts_of(layer, self.shapes)
        for known in (self._seen, self._sure):
            note_intervals(parts, self.shapes, self.constants, known)

    def replace(self, layer: str, part: Layer, search: Search) -> None:
        """Add a part of a layer by the best way that there is, or as it is."""
        site, seen = (site_of(part, self.shapes, self.constants, known) for known in (self._sure, self._seen))
        reason = search.price(site.operator).reason
        way, ranges = search.choose(site, seen)
        if reason:
            self.replaced.append(_replaced(layer, site, reason, way, ranges, partial(search.tried, seen)))
        if way is None:
            way = Way(0.0, (part,), part.name, {})
        self.seconds[layer] = self.seconds.get(layer, 0.0) + way.seconds
        placed, result = _placed(way, part.name)
        self.layers += placed
        self.constants |= way.constants
        self.shapes |= {each.name: each.shape for each in placed}
        self.shapes |= {name: array.shape for name, array in way.constants.items()}
        if result != part.name:
            self.renamed[part.name] = result
        for known, each in ((self._sure, site), (self._seen, seen)):
            if result not in known and (interval := site_interval(each)) is not None:
                known[result] = interval


def _replaced(
    layer: str,
    site: Site,
    reason: str,
    way: Way | None,
    ranges: Mapping[str, Interval],
    tried: Callable[[], Sequence[Tried]],
) -> Replaced:
    rules = () if way is None else tuple(each.name for each in way.rules)
    approximations = () if way is None else way.approximations
    error = 0.0 if way is None else way.error
    return Replaced(layer, site.name, reason, rules, approximations, error, ranges, tried)


def _placed(way: Way, name: str) -> tuple[list[Layer], str]:
    """The way's layers, the one of its result under the site's name; and what the result is called."""
    if all(layer.name != way.result for layer in way.layers):
        return list(way.layers), way.result  # one of the site's inputs
    names = {way.result: name}
    layers = [replace(each.renamed(names), name=names.get(each.name, each.name)) for each in way.layers]
    return layers, name
