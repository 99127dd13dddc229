"""What every exact rule has to do: compute the same in float64, by the operators that it promises."""

from __future__ import annotations

import torch

from sparsegen.devices import describe_graph
from sparsegen.graph import LayerGraph
from sparsegen.rewriting.site import Site
from tests.rewriting.rewritings import as_it_is, drafted, drawn, in_float64


def names(graph: LayerGraph) -> list[str]:
    """The operators of a graph, in order; of pointwise layers, their steps."""
    found = list[str]()
    for operator in describe_graph(graph).values():
        found += operator.steps if operator.kind == "pointwise" else [operator.name]
    return found


def rewritten(rule: str, site: Site, seed: int = 0, tolerance: float = 1e-10) -> LayerGraph:
    """The graph that a rule makes of a site, after it was seen to compute the same."""
    graph = drafted(rule, site)
    values = drawn(site, seed)
    expected = in_float64(as_it_is(site), *values)
    found = in_float64(graph, *values)
    assert found.shape == expected.shape == site.shape
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    return graph
