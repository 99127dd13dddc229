"""Models of the tests' own: small plans on functions of kernels.c, which take no compiler but gcc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.runtime.native.artefacts import Variant, digest, pack

Json = dict[str, Any]
MATRIX = [[1.0, 0.0], [0.5, 0.5], [0.25, -0.75]]


def slot(index: int, shape: Sequence[int], *, aligned: bool = False) -> Json:
    """An argument that is read from a slot."""
    told = {"slot": index, "shape": list(shape), "dtype": "float32"}
    return {**told, "aligned": True} if aligned else told


def new(index: int, shape: Sequence[int]) -> Json:
    """An argument that is written into a slot."""
    return {"new": index, "shape": list(shape), "dtype": "float32"}


def region(offset: int, shape: Sequence[int], halo: int | None = None) -> Json:
    """An argument in the arena."""
    told = {"region": offset, "shape": list(shape), "dtype": "float32"}
    return told if halo is None else {**told, "halo": halo}


def call(symbol: str, *arguments: Json, **more: Any) -> Json:
    """A call for a layer of its function's name."""
    return {"layer": symbol, "symbol": symbol, "arguments": list(arguments), "frees": [], **more}


def plan(calls: Sequence[Json], inputs: Sequence[int], outputs: Mapping[int, int], **more: Any) -> Json:
    """A plan of inputs of so many elements, and outputs by slot, of so many."""
    return {
        "schema": 2,
        "threads": 2,
        "slots": len(inputs) + sum("new" in each for one in calls for each in one["arguments"]),
        "inputs": [
            {"name": f"input {n}", "shape": [size], "dtype": "float32"} for n, size in enumerate(inputs)
        ],
        "outputs": list(outputs),
        "output_shapes": [[size] for size in outputs.values()],
        "arena_bytes": 4096,
        "arrays": [],
        "halos": [],
        "calls": list(calls),
        **more,
    }


def variant(code: bytes, written: Json, arrays: Sequence[NDArray[Any]] = (), **more: Any) -> Variant:
    """A variant of a plan, its extents those that its calls have; `arrays` are the plan's, in memory."""

    def form(argument: Json) -> tuple[list[int], str]:
        if "weight" in argument:
            array = written["arrays"][argument["weight"]]
            return array["shape"], array["dtype"]
        if "slot" in argument and not argument.get("aligned"):
            return [int(np.prod(argument["shape"]))], argument["dtype"]
        return argument["shape"], argument["dtype"]

    def made_for(argument: Json) -> Any:
        shape, dtype = form(argument)
        whole = "weight" in argument and dtype == "int32"
        return argument["weight"] if whole else argument.get("shape", shape)

    kernels = [one for one in written["calls"] if "symbol" in one]
    extents = {
        "signatures": {
            one["symbol"]: [
                dict(zip(("shape", "dtype"), form(each), strict=True)) for each in one["arguments"]
            ]
            for one in kernels
        },
        "calls": [[one["symbol"], *map(made_for, one["arguments"])] for one in kernels],
        "integers": {str(n): digest(array) for n, array in enumerate(arrays) if array.dtype == np.int32},
    }
    return Variant(written, code, extents, **more)


def stored_arrays() -> tuple[list[Json], dict[str, NDArray[Any]], list[NDArray[Any]]]:
    """Arrays stored in every way: as a plan has them, their sections, and as they are in memory."""
    numbers = np.array([3, 260, 5, 700], np.int32)
    steps = np.array([70, 71, 74, 250], np.int32)
    sparse = np.array([0, 1, 0, 0, 2, 0, 0, 0, 0, 3], np.float32)
    filters = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    matrix = np.array(MATRIX)
    transformed = np.einsum("ia,jb,lab->ijl", matrix, matrix, filters.astype(np.float64)).astype(np.float32)
    sections: dict[str, NDArray[Any]] = {
        "weights/a/0": np.arange(5, dtype=np.float32),
        "weights/b/values": sparse[sparse != 0],
        "weights/b/mask": np.packbits(sparse != 0, bitorder="little"),
        "weights/c": (numbers - 3).astype(np.uint16),
        "weights/d": np.diff(steps, prepend=0).astype(np.uint8),
        "weights/e": filters.reshape(-1),
    }
    stored = [
        ([5], "float32", {"raw": "weights/a/0"}),
        ([2, 5], "float32", {"zeros": "weights/b/values", "mask": "weights/b/mask"}),
        ([4], "int32", {"narrow": "weights/c", "width": 2, "base": 3}),
        ([4], "int32", {"deltas": "weights/d", "width": 1, "base": 0}),
        ([3, 3, 3], "float32", {"transformed": {"raw": "weights/e"}, "matrix": MATRIX}),
    ]
    arrays = [sections["weights/a/0"], sparse.reshape(2, 5), numbers, steps, transformed]
    told = [{"shape": shape, "dtype": dtype, "stored": how} for shape, dtype, how in stored]
    return told, sections, arrays


def write(
    path: Path, variants: Sequence[Variant], sections: Mapping[str, NDArray[Any]] | None = None
) -> Path:
    """Write an artefact."""
    path.write_bytes(pack(variants, sections or {}))
    return path
