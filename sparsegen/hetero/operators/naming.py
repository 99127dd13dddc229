"""Names of operators: from the modules whose layers they consist of."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence


def names_of(groups: Sequence[Sequence[str]], whole: str, *, taken: Collection[str]) -> list[str]:
    """A name for each group of layers, no two the same and none of those `taken`.

    A single layer gives its own name. Several give the path of the innermost module that they share, where
    that tells them from all other groups, or else the names of the first and the last. The only group is
    called `whole` where its layers share no module.
    """
    paths = [_shared_path(group) if len(group) > 1 else group[0] for group in groups]
    counts = Counter(paths)
    names, used = list[str](), set(taken)
    for group, path in zip(groups, paths, strict=True):
        if not path and len(groups) == 1:
            wanted = whole
        elif len(group) == 1 or (path and counts[path] == 1):
            wanted = path
        else:
            wanted = f"{group[0]}..{group[-1]}"
        variants = itertools.chain([wanted], (f"{wanted}##{number}" for number in itertools.count(2)))
        names.append(next(name for name in variants if name not in used))
        used.add(names[-1])
    return names


def _shared_path(layers: Sequence[str]) -> str:
    """The path of the innermost module that layers share, "" for the model's own."""
    paths = [layer.partition("#")[0].split(".") for layer in layers]
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)
