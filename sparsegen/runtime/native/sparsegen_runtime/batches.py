"""Variants of one model that differ in the number of rows alone, and how they serve any number of rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """Variants, by number, of the batches that they are for.

    `batched` tells of each input whether its first extent is the batch: others are the same in all variants.
    """

    variants: Mapping[int, int]
    batched: tuple[bool, ...]

    def rows_of(self, shapes: Sequence[Shape]) -> int | None:
        """The rows that inputs, which fit but for the batch, have in common; None where they have none."""
        extents = {shape[0] for shape, batched in zip(shapes, self.batched, strict=True) if batched}
        return extents.pop() if len(extents) == 1 else None

    def differing(self, names: Sequence[str], shapes: Sequence[Shape]) -> str:
        """What to tell of inputs that have no number of rows in common."""
        each = zip(names, shapes, self.batched, strict=True)
        rows = ", ".join(f"{name} has {shape[0]}" for name, shape, batched in each if batched)
        return f"the inputs differ in their numbers of rows: {rows}; give as many of each"


@dataclass(frozen=True)
class Piece:
    """Rows, from `begin` to before `end`, that the variant of a `batch` computes: of that many, or fewer."""

    begin: int
    end: int
    batch: int


def without_batch(shapes: Sequence[Shape]) -> tuple[tuple[int, Shape], ...]:
    """What the shapes of variants of one family have in common: ranks, and all extents but the first."""
    return tuple((len(shape), shape[1:]) for shape in shapes)


def families_of(inputs: Sequence[Sequence[Shape]]) -> dict[tuple[tuple[int, Shape], ...], Family]:
    """The families among variants, of the shapes of each one's inputs.

    Variants that differ in more than one batch, or are alone, make none. Of two for one batch the first is
    taken.
    """
    alike: dict[tuple[tuple[int, Shape], ...], list[int]] = {}
    for number, shapes in enumerate(inputs):
        alike.setdefault(without_batch(shapes), []).append(number)
    found = {}
    for key, numbers in alike.items():
        columns = list(zip(*([shape[:1] for shape in inputs[number]] for number in numbers), strict=True))
        batched = tuple(len(set(column)) > 1 for column in columns)
        variants: dict[int, int] = {}
        for at, number in enumerate(numbers):
            extents = {column[at] for column, grows in zip(columns, batched, strict=True) if grows}
            if len(extents) != 1:
                break
            variants.setdefault(extents.pop()[0], number)
        else:
            found[key] = Family(variants, batched)
    return found


def pieces(rows: int, seconds: Mapping[int, float]) -> tuple[Piece, ...]:
    """The pieces in which variants compute so many rows in the least time, by the seconds of each batch."""
    return _pieces(rows, tuple(sorted(seconds.items())))


@functools.lru_cache(maxsize=256)
def _pieces(rows: int, seconds: tuple[tuple[int, float], ...]) -> tuple[Piece, ...]:
    """By dynamic programming over the rows that are left; of pieces that take as long the larger."""
    least = [(0.0, 0)]
    for left in range(1, rows + 1):
        least.append(
            min(
                ((time + least[max(0, left - batch)][0], batch) for batch, time in seconds),
                key=lambda each: (each[0], -each[1]),
            )
        )
    batches, left = [], rows
    while left:
        batches.append(least[left][1])
        left = max(0, left - batches[-1])
    begin, found = 0, []
    for batch in sorted(batches, reverse=True):
        end = min(rows, begin + batch)
        found.append(Piece(begin, end, batch))
        begin = end
    return tuple(found)
