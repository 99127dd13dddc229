"""Artefacts, written by docs/artefact.md alone: what the reader is tested with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"float32": "F32", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16", "bool": "BOOL"}
_LINE, _PAGE = 64, 4096


@dataclass(frozen=True)
class Variant:
    """A variant: its plan without its arrays, and these by how they are stored, beside their sections."""

    plan: Mapping[str, Any]
    code: bytes
    extents: Mapping[str, Any]
    features: Sequence[str] = ()
    target: str = "haswell"
    needs_torch: bool = False


def pack(variants: Sequence[Variant], weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The file of variants, whose arrays name the sections among `weights`."""
    sections = dict(weights)
    listed = []
    for number, variant in enumerate(variants):
        extents = {"code": hashlib.sha256(variant.code).hexdigest(), **variant.extents}
        own = {"plan": _json(variant.plan), "code": variant.code, "extents": _json(extents)}
        names = {kind: f"{kind}/{number}" for kind in own}
        sections |= {names[kind]: np.frombuffer(held, np.uint8) for kind, held in own.items()}
        listed.append(
            {
                **names,
                "target": variant.target,
                "features": list(variant.features),
                "threads": variant.plan["threads"],
                "batch": None,
            }
        )
    manifest = {
        "sparsegen": "0.1.0",
        "needs_torch": any(variant.needs_torch for variant in variants),
        "variants": listed,
        "sha256": {name: hashlib.sha256(held.tobytes()).hexdigest() for name, held in sections.items()},
    }
    return lay_out(sections, json.dumps(manifest))


def lay_out(sections: Mapping[str, NDArray[Any]], manifest: str, **metadata: str) -> bytes:
    """A safetensors file of sections, with padding between them, and a manifest."""
    told: dict[str, Any] = {
        "__metadata__": {
            "format": "sparsegen",
            "schema": "1",
            "manifest": manifest,
            "manifest_sha256": hashlib.sha256(manifest.encode()).hexdigest(),
            **metadata,
        }
    }
    data = bytearray()
    for number, (name, held) in enumerate(sections.items()):
        padding = -len(data) % (_PAGE if held.nbytes >= _PAGE else _LINE)
        if padding:
            told[f"pad/{number}"] = _tensor("U8", (padding,), len(data), padding)
            data += bytes(padding)
        told[name] = _tensor(_TYPES[held.dtype.name], held.shape, len(data), held.nbytes)
        data += held.tobytes()
    header = _json(told)
    header += b" " * (-(len(header) + 8) % _PAGE)
    return len(header).to_bytes(8, "little") + header + data


def _tensor(dtype: str, shape: Sequence[int], begin: int, size: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, begin + size]}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def digest(array: NDArray[Any]) -> str:
    """The checksum of an array as it is in memory."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def store(array: NDArray[Any], name: str, weights: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """How an array is stored: in few bytes, in sections that are added to `weights`."""
    flat = array.reshape(-1)
    if array.dtype == np.float32 and np.count_nonzero(flat.view(np.uint32)) < 0.9 * array.size:
        kept = flat.view(np.uint32) != 0
        weights[f"weights/{name}/values"] = flat[kept]
        weights[f"weights/{name}/mask"] = np.packbits(kept, bitorder="little")
        return {"zeros": f"weights/{name}/values", "mask": f"weights/{name}/mask"}
    if array.dtype == np.int32 and array.size:
        steps = np.diff(flat.astype(np.int64), prepend=0)
        for kind, numbers in (("narrow", flat.astype(np.int64)), ("deltas", steps)):
            base = int(numbers.min())
            if int(numbers.max()) - base < 1 << 16:
                small = np.uint8 if int(numbers.max()) - base < 1 << 8 else np.uint16
                weights[f"weights/{name}"] = (numbers - base).astype(small)
                return {kind: f"weights/{name}", "width": np.dtype(small).itemsize, "base": base}
    weights[f"weights/{name}"] = array
    return {"raw": f"weights/{name}"}


def of_program(
    program: Any, name: str = "", features: Sequence[str] = ()
) -> tuple[Variant, dict[str, NDArray[Any]]]:
    """The variant of a program that sparsegen compiled, and the sections of its arrays."""
    from sparsegen.runtime.program import KernelCall, Weight, array_at
    from sparsegen.runtime.program_json import to_json

    weights: dict[str, NDArray[Any]] = {}
    arrays = [array_at(program.weights, placed) for placed in program.arrays]
    written = to_json(program)
    signatures = written.pop("signatures")
    written["arrays"] = [
        {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "stored": store(array, f"{name}{number}", weights),
        }
        for number, array in enumerate(arrays)
    ]
    whole = {number for number, array in enumerate(arrays) if array.dtype.kind in "iu"}

    def made_for(argument: Any) -> Any:
        if isinstance(argument, Weight):
            number = argument.index
            return number if number in whole else list(arrays[number].shape)
        return list(argument.shape)

    kernels = [call for call in program.calls if isinstance(call, KernelCall)]
    extents = {
        "signatures": signatures,
        "calls": [[call.symbol, *map(made_for, call.arguments)] for call in kernels],
        "integers": {str(number): digest(arrays[number]) for number in sorted(whole)},
    }
    needs_torch = len(kernels) < len(program.calls)
    return Variant(written, program.library, extents, features, program.target, needs_torch), weights
