"""Operators that one device runs in a row, as one: compiled together, called once.

A segment begins where something comes from another device, or from the input before, and ends where something
goes to another device, so that nothing waits for what it does not need: only the last operator of a segment
sends anything. A device runs its operators in the order that is given. A result that is carried to another
device for the next input counts as one that goes there. The graph of segments has no circles, and each comes
after those that it reads: what is alone moves ahead of one that began before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx


@dataclass(frozen=True)
class Segment:
    """Operators, in order, on a device, by one implementation. `reads`: segments, by number."""

    operators: tuple[str, ...]
    device: str
    implementation: str
    reads: tuple[int, ...]


def segments_of(
    order: Sequence[str],
    reads: Mapping[str, Sequence[str]],
    places: Mapping[str, tuple[str, str, int]],
    alone: Sequence[str] = (),
    carries: Mapping[str, Sequence[str]] | None = None,
) -> list[Segment]:
    """The segments of operators in an order that runs.

    places: of each its device, its implementation, and a number, which all of a segment share.
    Those of `alone` stay alone: what is no operator of a graph. What `carries` a state begins a segment.
    """
    carries = carries or {}
    readers: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for source in (*reads[name], *carries.get(name, ())):
            readers[source].append(name)
    segment_of: dict[str, int] = {}
    members: list[list[str]] = []
    last_on: dict[str, int] = {}
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    for name in order:
        place = places[name]
        at = last_on.get(place[0])
        sources = {segment_of[each] for each in reads[name]}
        if (
            at is None
            or name in alone
            or places[members[at][0]] != place
            or carries.get(name)
            or _sends(members[at], readers, places)
            or any(_comes_late(each, at, graph, members, places) for each in sources - {at})
        ):
            at = len(members)
            members.append([])
            graph.add_node(at)
            if name not in alone:
                last_on[place[0]] = at
        members[at].append(name)
        graph.add_edges_from((source, at) for source in sources - {at})
        segment_of[name] = at
    runs = list(networkx.lexicographical_topological_sort(graph))
    place_of = {at: place for place, at in enumerate(runs)}
    return [
        Segment(
            tuple(members[at]),
            *places[members[at][0]][:2],
            tuple(sorted(place_of[source] for source in graph.predecessors(at))),
        )
        for at in runs
    ]


def _comes_late(
    source: int,
    at: int,
    graph: networkx.DiGraph[int],
    members: Sequence[Sequence[str]],
    places: Mapping[str, tuple[str, str, int]],
) -> bool:
    """Whether a segment would begin later, or never, if it read another one, too."""
    if graph.has_edge(source, at):
        return False
    elsewhere = places[members[source][0]][0] != places[members[at][0]][0]
    return elsewhere or networkx.has_path(graph, at, source)


def _sends(
    members: Sequence[str], readers: Mapping[str, Sequence[str]], places: Mapping[str, tuple[str, str, int]]
) -> bool:
    """Whether some of a segment's results go to another device already."""
    device = places[members[0]][0]
    return any(places[reader][0] != device for name in members for reader in readers[name])
