"""One block of weights for several programs of a model: arrays that are alike are there once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.runtime.memory import place_arrays
from sparsegen.runtime.program import (
    Argument,
    KernelCall,
    PlacedArray,
    Program,
    TorchCall,
    Weight,
    array_at,
)


def share_weights(programs: Sequence[Program]) -> list[Program]:
    """The programs with one block, which has every array of any of them once.

    Raises SparsegenError where the system has no memory for it.
    """
    if len(programs) == 1:
        return list(programs)
    numbers: dict[Any, int] = {}
    held: list[tuple[NDArray[Any], PlacedArray]] = []
    renumbered = []
    for program in programs:
        new = {}
        for number, placed in enumerate(program.arrays):
            content = array_at(program.weights, placed).reshape(-1).view(np.uint8)
            key = placed.shape, placed.dtype, hashlib.sha256(content.data).digest()
            if key not in numbers:
                numbers[key] = len(held)
                held.append((content, placed))
            new[number] = numbers[key]
        renumbered.append(new)
    block, places = place_arrays([content for content, _ in held])
    arrays = tuple(
        replace(place, shape=placed.shape, dtype=placed.dtype)
        for place, (_, placed) in zip(places, held, strict=True)
    )
    return [
        _renumbered(program, new, block, arrays) for program, new in zip(programs, renumbered, strict=True)
    ]


def _renumbered(
    program: Program, new: Mapping[int, int], block: NDArray[np.uint8], arrays: tuple[PlacedArray, ...]
) -> Program:
    """The program on another block, of these arrays, that has its own by new numbers."""
    face = program.interface
    return replace(
        program,
        calls=tuple(_call(call, new) for call in program.calls),
        interface=replace(face, known={at: _argument(value, new) for at, value in face.known.items()}),
        weights=block,
        arrays=arrays,
        made={new[number]: made for number, made in program.made.items()},
    )


def _call(call: KernelCall | TorchCall, new: Mapping[int, int]) -> KernelCall | TorchCall:
    arguments = tuple(_argument(each, new) for each in call.arguments)
    if isinstance(call, KernelCall):
        return replace(call, arguments=arguments)
    keywords = tuple((name, _argument(value, new)) for name, value in call.keywords)
    return replace(call, arguments=arguments, keywords=keywords)


def _argument(value: Argument, new: Mapping[int, int]) -> Argument:
    if isinstance(value, tuple):
        return tuple(_argument(each, new) for each in value)
    return Weight(new[value.index]) if isinstance(value, Weight) else value
