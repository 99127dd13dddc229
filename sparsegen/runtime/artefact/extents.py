"""What generated code reads and writes, for readers that check it before anything runs."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from sparsegen.runtime.program import KernelCall, Program, TorchCall, Weight, array_at, weights_in

_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def extents_of(program: Program, code_sha256: str) -> dict[str, Any]:
    """The extents of a program's code, as JSON has them."""
    whole = [number for number, placed in enumerate(program.arrays) if placed.dtype in _WHOLE]
    read = {
        weight.index
        for call in program.calls
        if isinstance(call, KernelCall)
        for weight in weights_in(call.arguments)
    }
    return {
        "code": code_sha256,
        "signatures": {
            symbol: [asdict(each) for each in takes] for symbol, takes in program.signatures.items()
        },
        "calls": [_call(program, call) for call in program.calls],
        "integers": {str(number): _sha256(program, number) for number in whole if number in read},
    }


def _call(program: Program, call: KernelCall | TorchCall) -> list[Any] | None:
    """The function, and each argument's shape, or number where it is of whole numbers; None: torch's."""
    if isinstance(call, TorchCall):
        return None
    told: list[Any] = [call.symbol]
    for each in call.arguments:
        if not isinstance(each, Weight):
            told.append(each.shape)
            continue
        placed = program.arrays[each.index]
        told.append(each.index if placed.dtype in _WHOLE else placed.shape)
    return told


def _sha256(program: Program, number: int) -> str:
    array = array_at(program.weights, program.arrays[number])
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
