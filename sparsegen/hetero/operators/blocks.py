"""The blocks of a graph: what lies between two articulation points, and the branches in between.

An articulation point is a node that every way from the nodes before it to those after it leads through, and
which all of them lie on. What lies between two of them, with the second, is a segment:

- where each node reads the one before, as in a residual block, the segment is one block;
- where it falls apart into branches once its articulation point is taken away, as in an Inception module,
  the point is a block of its own, and each branch is divided in turn; but what follows in a branch without
  branches of its own is one block;
- a branch without articulation points that does not fall apart, as the cells of NASNet, which read the two
  before, is divided into chains: a node and its only reader, which reads nothing else of the branch.

Nodes that do not depend on the model's main input (that on which most nodes depend), such as what is made of
an attention mask, are read all over the graph: they are branches of their own, and make no other node less of
an articulation point.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import networkx

Reads = Mapping[str, Collection[str]]
"""By node, what it reads: other nodes and the model's inputs. In an order that runs."""

_LONGEST = 16
"""Nodes of a block at most, where it can be divided: a U-Net is one block from its first skip to its last."""


def blocks(reads: Reads) -> list[list[str]]:
    """The blocks, each as its nodes in order; every node is in exactly one.

    Each can run as one: no value leaves a block and comes back, and blocks do not depend on each other in a
    circle.
    """
    main = _main_nodes(reads)
    side = _branches([node for node in reads if node not in main], reads)
    found, waiting = _divided([node for node in reads if node in main], reads, joins=False)
    waiting += side
    while waiting:
        own, more = _divided(waiting.pop(), reads, joins=True)
        found += own
        waiting += more
    place = {node: at for at, node in enumerate(reads)}
    return sorted(found, key=lambda block: place[block[0]])


def _divided(nodes: Sequence[str], reads: Reads, *, joins: bool) -> tuple[list[list[str]], list[list[str]]]:
    """Blocks of these nodes, and branches that have to be divided in turn.

    Where it `joins`, segments in a row that are one block each are one together.
    """
    segments = _segments(nodes, reads)
    if len(segments) == 1 and segments[0][1] is None and len(_branches(nodes, reads)) == 1:
        return _chains(nodes, reads), []
    found, waiting = list[list[str]](), list[list[str]]()
    open_block: list[str] | None = None  # the next segment may join it
    for interior, point in segments:
        branches = _branches(interior, reads)
        whole = [*interior, *([] if point is None else [point])]
        if len(branches) <= 1 and len(whole) <= _LONGEST and _in_line(interior, reads):
            if joins and open_block is not None and len(open_block) + len(whole) <= _LONGEST:
                open_block += whole
                continue
            found.append(open_block := whole)
            continue
        open_block = None
        waiting += branches
        found += [] if point is None else [[point]]
    return found, waiting


def _main_nodes(reads: Reads) -> set[str]:
    """The nodes that depend on the input on which most do; all where there are no inputs."""
    inputs = {name for each in reads.values() for name in each if name not in reads}
    dependent = {name: _dependents(name, reads) for name in sorted(inputs)}
    return max(dependent.values(), key=len, default=set(reads))


def _dependents(name: str, reads: Reads) -> set[str]:
    found = {name}
    for node, sources in reads.items():
        if not found.isdisjoint(sources):
            found.add(node)
    return found - {name}


def _segments(nodes: Sequence[str], reads: Reads) -> list[tuple[list[str], str | None]]:
    """What lies between two articulation points, and the second; the last may end without one."""
    place = {node: at for at, node in enumerate(nodes)}
    sources = [[place[name] for name in reads[node] if name in place] for node in nodes]
    is_read = {at for each in sources for at in each}
    # By node, the first that it or any after it reads; one that reads nothing of these reads what is before.
    earliest = [len(nodes)] * (len(nodes) + 1)
    for at in reversed(range(len(nodes))):
        earliest[at] = min(earliest[at + 1], min(sources[at], default=-1))
    found: list[tuple[list[str], str | None]] = []
    interior: list[str] = []
    all_read = True
    for at, node in enumerate(nodes):
        if all_read and earliest[at + 1] >= at:
            found.append((interior, node))
            interior = []
        else:
            interior.append(node)
        all_read = all_read and at in is_read
    return [*found, (interior, None)] if interior else found


def _branches(nodes: Iterable[str], reads: Reads) -> list[list[str]]:
    """The nodes, apart where none reads another."""
    edges = networkx.Graph()
    ordered = list(nodes)
    edges.add_nodes_from(ordered)
    edges.add_edges_from((name, node) for node in ordered for name in reads[node] if name in edges)
    return [[node for node in ordered if node in part] for part in networkx.connected_components(edges)]


def _in_line(nodes: Sequence[str], reads: Reads) -> bool:
    """Whether each node reads the one before."""
    return all(before in reads[node] for before, node in itertools.pairwise(nodes))


def _chains(nodes: Sequence[str], reads: Reads) -> list[list[str]]:
    """The nodes as chains: after the first, a node alone reads the one before, and nothing else of them."""
    among = set(nodes)
    readers: dict[str, list[str]] = {node: [] for node in nodes}
    for node in nodes:
        for name in among.intersection(reads[node]):
            readers[name].append(node)
    chain_of: dict[str, list[str]] = {}
    for node in nodes:
        sources = among.intersection(reads[node])
        if len(sources) == 1 and len(readers[source := next(iter(sources))]) == 1:
            chain_of[node] = chain_of[source]
            chain_of[node].append(node)
        else:
            chain_of[node] = [node]
    return [chain for node, chain in chain_of.items() if chain[0] == node]
