"""How a table and a picture write names, shapes, structures and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

UNICODE = "text in Unicode, not half a surrogate pair,"
"""What a message asks for where `is_unicode` is false."""


def is_unicode(value: object) -> bool:
    """Whether this is a text that can be written down: half a surrogate pair, as JSON has it, is none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def short_names(names: Sequence[str]) -> list[str]:
    """Drop the parts of dotted names that more than half of them share, so long as none is like another.

    `features.stage1.unit1.body.conv1.conv` becomes `stage1.unit1.conv1`. Parts with digits, which
    tell where in the network a layer is, stay.
    """
    paths = [name.split(".") for name in names]
    shares = Counter(part for path in paths for part in set(path))
    for part, share in shares.items():
        if 2 * share <= len(names) or any(character.isdigit() for character in part):
            continue
        shorter = [[each for each in path if each != part] for path in paths]
        if all(shorter) and len(set(map(tuple, shorter))) == len(set(names)):
            paths = shorter
    return [".".join(path) for path in paths]


def sparsity_phrase(structure: str, sparsity: float) -> str:
    """`50% unstructured sparsity`; `2:4 sparsity`, which implies the share; for 0, the model's own."""
    if sparsity == 0:
        return "its own sparsity"
    return f"{structure if structure[0].isdecimal() else f'{100 * sparsity:.3g}% {structure}'} sparsity"


def dimensions(shape: Sequence[int]) -> str:
    """A shape as 64x56x56."""
    return "x".join(str(extent) for extent in shape)


def threads_phrase(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


def size_phrase(size: int) -> str:
    """Bytes of a cache: `48 KiB`, `2 MiB`."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def counted(count: int, noun: str) -> str:
    """`1 operator`, `2 operators`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def milliseconds(time: float) -> str:
    """Three significant digits, or whole milliseconds: 0.123, 4.56, 78.9, 1234."""
    digits = 3 if time < 1 else 2 if time < 10 else 1 if time < 100 else 0
    return f"{time:.{digits}f}"


def operators_phrase(calls: Mapping[str, int]) -> str:
    """Operators and how often each is called: `2 calls of aten.cumsum.default, 1 of aten.topk.default`."""
    first, *others = sorted(calls.items(), key=lambda item: (-item[1], item[0]))
    operator, count = first
    told = f"{count} call{'s' if count > 1 else ''} of {operator}"
    return ", ".join([told, *(f"{count} of {operator}" for operator, count in others)])
