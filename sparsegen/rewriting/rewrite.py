"""A graph rewritten for a device: every operator that it lacks, by the cheapest way that there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsegen.devices.operators import describe
from sparsegen.frontend.fuse import fuse_epilogues
from sparsegen.frontend.simplify import remove_unread
from sparsegen.graph import Array, Identity, Layer, LayerGraph, Shape
from sparsegen.rewriting.bounds import site_interval
from sparsegen.rewriting.clamps import merge_clamps
from sparsegen.rewriting.draft import Approximation, Price
from sparsegen.rewriting.search import Search, Tried, Way, site_of
from sparsegen.rewriting.site import Interval, Site


@dataclass(frozen=True)
class Replaced:
    """An operator that the device lacks, and what became of it.

    layer: of the graph, whose core or step it is. reason: why the device does not run it. rules: by which it
    was replaced, outermost first; none: it stays. tried: all rules for it, with what came of each.
    """

    layer: str
    operator: str
    reason: str
    rules: tuple[str, ...]
    approximations: tuple[Approximation, ...]
    tried: tuple[Tried, ...]

    @property
    def word(self) -> str:
        """What it is: "decomposed", "approximated", or "unsupported"."""
        if not self.rules:
            return "unsupported"
        return "approximated" if self.approximations else "decomposed"


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A graph for a device, and what was replaced in it."""

    graph: LayerGraph
    replaced: tuple[Replaced, ...]

    @property
    def unsupported(self) -> tuple[Replaced, ...]:
        """What stays as it was."""
        return tuple(each for each in self.replaced if not each.rules)


def rewrite(
    graph: LayerGraph,
    price: Price,
    *,
    max_error: float | Mapping[str, float] = 0.0,
    intervals: Mapping[str, Interval] | None = None,
) -> Rewritten:
    """The graph by what a device has, where `price` tells what that costs.

    max_error: that a pointwise operator's result may have, of all or by layer; 0: none is approximated. Of a
    larger operator, such as an LSTM, it holds for each pointwise operator in it.
    intervals: what values lie in on calibration inputs, by name. The graph itself stays as it is. What no
    rule serves stays in the result, too: see `Rewritten.unsupported`.
    """
    shapes, constants = graph.shapes(), dict(graph.constants)
    layers, renamed, replaced = list[Layer](), dict[str, str](), list[Replaced]()
    errors = max_error if isinstance(max_error, Mapping) else {}
    searches: dict[float, Search] = {}
    known = dict(intervals or {})
    for layer in graph.layers:
        if price(describe(layer, shapes, constants.keys())).supported:
            layers.append(layer.renamed(renamed))
            _note_intervals(layers[-1], shapes, constants, known)
            continue
        layer = replace(layer, epilogue=merge_clamps(layer.epilogue))
        error = errors.get(layer.name, 0.0) if isinstance(max_error, Mapping) else max_error
        search = searches.setdefault(error, Search(price, error))
        for part in _parts(layer.renamed(renamed), shapes):
            site = site_of(part.renamed(renamed), shapes, constants, known)
            reason = price(site.operator).reason
            way = search.best(site)
            if reason:
                replaced.append(_replaced(layer, site, reason, way, search.tried(site)))
            if way is None:
                way = Way(0.0, (site.layer,), part.name, {})
            placed, result = _placed(way, part.name)
            layers += placed
            constants |= way.constants
            shapes |= {each.name: each.shape for each in placed}
            shapes |= {name: array.shape for name, array in way.constants.items()}
            if result != part.name:
                renamed[part.name] = result
            if result not in known and (interval := site_interval(site)) is not None:
                known[result] = interval
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    made = replace(graph, layers=layers, outputs=outputs, constants=constants)
    return Rewritten(remove_unread(fuse_epilogues(remove_unread(made))), tuple(replaced))


def in_parts(graph: LayerGraph) -> LayerGraph:
    """The graph, each of its layers one core or one step, by the names that `rewrite` gives them.

    To be run on calibration inputs: what its values lie in are the `intervals` of `rewrite`.
    """
    shapes, layers = graph.shapes(), list[Layer]()
    for layer in graph.layers:
        merged = replace(layer, epilogue=merge_clamps(layer.epilogue))
        layers += list(_parts(merged, shapes)) or [layer]
    return replace(graph, layers=layers)


def _note_intervals(
    layer: Layer, shapes: dict[str, Shape], constants: Mapping[str, Array], known: dict[str, Interval]
) -> None:
    """Note what a supported layer's values lie in, where that follows."""
    for part in _parts(layer, shapes):
        interval = site_interval(site_of(part, shapes, constants, known))
        if interval is not None:
            known.setdefault(part.name, interval)


def _replaced(layer: Layer, site: Site, reason: str, way: Way | None, tried: Sequence[Tried]) -> Replaced:
    rules = () if way is None else tuple(each.name for each in way.rules)
    approximations = () if way is None else way.approximations
    return Replaced(layer.name, site.name, reason, rules, approximations, tuple(tried))


def _parts(layer: Layer, shapes: dict[str, Shape]) -> Iterator[Layer]:
    """The layer as one of its core and one of each step; the last one bears its name."""
    steps = layer.epilogue
    value = layer.inputs[0] if layer.inputs else ""
    if not isinstance(layer.core, Identity):
        value = f"{layer.name}:core" if steps else layer.name
        shapes[value] = layer.shape
        yield replace(layer, name=value, epilogue=())
    for number, step in enumerate(steps):
        name = layer.name if number == len(steps) - 1 else f"{layer.name}:{number}"
        shapes[name] = layer.shape
        yield Layer(name, Identity(), (value,), layer.shape, (step,))
        value = name


def _placed(way: Way, name: str) -> tuple[list[Layer], str]:
    """The way's layers, the one of its result under the site's name; and what the result is called."""
    if all(layer.name != way.result for layer in way.layers):
        return list(way.layers), way.result  # one of the site's inputs
    names = {way.result: name}
    layers = [replace(each.renamed(names), name=names.get(each.name, each.name)) for each in way.layers]
    return layers, name
