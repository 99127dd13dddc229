"""Sites drawn, rewritten by one rule, and computed in float64 beside what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch

from sparsegen.devices import Estimate, Operator
from sparsegen.graph import Array, Layer, LayerGraph, Shape
from sparsegen.rewriting.draft import Draft, Price
from sparsegen.rewriting.rule import Rule, all_rules
from sparsegen.rewriting.site import Interval, Site, site_of
from sparsegen.torch_graph.graph import TorchGraph

FLOAT64 = "float64"


def rule_named(name: str) -> Rule:
    """The registered rule of a name."""
    (found,) = [each for each in all_rules() if each.name == name]
    return found


def site(
    layer: Layer,
    inputs: Mapping[str, Shape],
    constants: Mapping[str, Array] | None = None,
    intervals: Mapping[str, Interval] | None = None,
) -> Site:
    """A layer alone as a site that reads inputs and constants."""
    known = dict(constants or {})
    shapes = {**inputs, **{name: array.shape for name, array in known.items()}}
    return site_of(layer, shapes, known, intervals or {})


def drafted(rule: str, site: Site, max_error: float = 0.0) -> LayerGraph:
    """The graph that a rule puts in a site's place, in float64; raises RefusalError where it refuses."""
    draft = Draft(site, max_error)
    draft.dtype = np.float64
    result = rule_named(rule).rewrite(site, draft)
    return _graph(site, draft.layers, {**site.constants, **draft.constants}, result)


def as_it_is(site: Site) -> LayerGraph:
    """The graph of a site alone."""
    return _graph(site, [site.layer], site.constants, site.layer.name)


def in_float64(graph: LayerGraph, *inputs: torch.Tensor) -> torch.Tensor:
    """What a graph of one result computes, all of it in float64; every value has its layer's shape."""
    given, shapes = [each.double() for each in inputs], graph.shapes()

    def see(name: str, value: torch.Tensor) -> None:
        assert tuple(value.shape) == shapes[name], f"{name} is {tuple(value.shape)}, not {shapes[name]}"

    with float64_by_default():
        computed = TorchGraph(doubled(graph))
        computed.watched(see, *given)
        result: torch.Tensor = computed(*given)
    return result


def doubled(graph: LayerGraph) -> LayerGraph:
    """The graph with inputs, weights and constants in float64."""
    layers = [_doubled(layer) for layer in graph.layers]
    constants: Any = {name: _doubled(array) for name, array in graph.constants.items()}
    types = {name: graph.input_dtype(name) for name in graph.inputs}
    dtypes = {name: FLOAT64 if dtype == "float32" else dtype for name, dtype in types.items()}
    return replace(graph, layers=layers, constants=constants, input_dtypes=dtypes)


@contextmanager
def float64_by_default() -> Iterator[None]:
    """While it lasts, what a graph makes of nothing is float64."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def drawn(site: Site, seed: int = 0, scale: float = 3.0) -> list[torch.Tensor]:
    """Values for a site's inputs, about normal."""
    generator = torch.Generator().manual_seed(seed)
    values = [name for name in dict.fromkeys(site.layer.reads()) if name not in site.constants]
    return [
        scale * torch.randn(site.shapes[name], generator=generator, dtype=torch.float64) for name in values
    ]


def allowing(*names: str, seconds: float = 1e-6) -> Price:
    """A price for a device that has the operators of these names and kinds, each for so many seconds."""
    return pricing(lambda operator: "" if _all_in(operator, names) else f"it has no {operator.name}", seconds)


def pricing(reason: Callable[[Operator], str], seconds: float = 1e-6) -> Price:
    """A price by what a device refuses: a phrase, or "" for what it runs."""

    def price(operator: Operator) -> Estimate:
        return Estimate(seconds, 0, 0, 0, reason=reason(operator))

    return price


def _all_in(operator: Operator, names: tuple[str, ...]) -> bool:
    own = () if operator.kind == "pointwise" else (operator.name,)
    return all(name in names for name in (*own, *operator.steps))


def _graph(site: Site, layers: list[Layer], constants: Mapping[str, Array], result: str) -> LayerGraph:
    values = [name for name in dict.fromkeys(site.layer.reads()) if name not in site.constants]
    inputs = {name: site.shapes[name] for name in values}
    return LayerGraph(inputs, list(layers), (result,), dict(constants))


def _doubled(value: Any) -> Any:
    match value:
        case np.ndarray():
            return value.astype(np.float64) if value.dtype.kind == "f" else value
        case tuple():
            return tuple(_doubled(each) for each in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            kept = {each.name: _doubled(getattr(value, each.name)) for each in fields(value) if each.init}
            return type(value)(**kept)
        case _:
            return value
