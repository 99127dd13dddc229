"""Programs written into one file: plans, code and weights, each once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsegen.errors import OptionError, ProgramError
from sparsegen.files import check_writable, replacing
from sparsegen.isa import isa_of
from sparsegen.runtime.artefact import safetensors
from sparsegen.runtime.artefact.extents import extents_of
from sparsegen.runtime.artefact.sections import Section, Sections
from sparsegen.runtime.artefact.stored import Stored, store, store_filters
from sparsegen.runtime.program import Program, TorchCall, array_at, weights_in
from sparsegen.runtime.program_json import to_json
from sparsegen.target import code_features, flags_of

SCHEMA = "1"


@dataclass(frozen=True)
class SavedVariant:
    """A variant of a file: its CPU, its threads, its batch, None for no common one, and bytes of its own."""

    target: str
    threads: int
    batch: int | None
    plan_bytes: int
    code_bytes: int


@dataclass(frozen=True)
class Saved:
    """What a file holds: its variants, best first, and the bytes of all, and of the weights among them."""

    path: Path
    variants: tuple[SavedVariant, ...]
    file_bytes: int
    weight_bytes: int
    needs_torch: bool


def save_programs(path: str | os.PathLike[str], programs: Sequence[Program]) -> Saved:
    """Write programs of one model, for other CPUs, numbers of threads or shapes, into a file.

    It takes the place of one that is there once it is whole. Raises FileError where it cannot be written,
    OptionError for no programs and for two of one kind, and ProgramError for programs of several models
    and for one that takes or returns a class that cannot be written down.
    """
    path = Path(path)
    check_writable("the model's file", path)
    ordered = sorted(programs, key=_width, reverse=True)
    _check(ordered)
    sections = Sections()
    told = [_variant(program, number, sections) for number, program in enumerate(ordered)]
    needs_torch = any(isinstance(call, TorchCall) for program in ordered for call in program.calls)
    manifest = json.dumps(
        {
            "sparsegen": metadata.version("sparsegen"),
            "needs_torch": needs_torch,
            "variants": [variant for variant, _ in told],
            "sha256": {section.name: section.sha256 for section in sections},
        }
    )
    texts = {
        "format": "sparsegen",
        "schema": SCHEMA,
        "manifest": manifest,
        "manifest_sha256": hashlib.sha256(manifest.encode()).hexdigest(),
    }
    with replacing(path) as new:
        size = safetensors.write(new, texts, sections)
    weights = sum(section.data.nbytes for section in sections if section.name.startswith("weights/"))
    return Saved(path, tuple(saved for _, saved in told), size, weights, needs_torch)


def batch_of(program: Program) -> int | None:
    """The first extent of a program's inputs; None where they have none in common."""
    first = {form.shape[:1] for form in program.interface.inputs}
    extents = first.pop() if len(first) == 1 else ()
    return extents[0] if extents else None


def _width(program: Program) -> tuple[int, int]:
    """What goes first: longer vectors, then more features."""
    features = code_features(program.target, program.without)
    isa = isa_of(features)
    return (0 if isa is None else isa.vector_bytes), len(features)


def _variant(program: Program, number: int, sections: Sections) -> tuple[dict[str, Any], SavedVariant]:
    """A program's plan, code, extents and weights among the sections; how the manifest tells of it."""
    code = sections.add_bytes("code", program.library)
    extents = _json(sections, "extents", extents_of(program, code.sha256))
    written = to_json(program)
    del written["signatures"]
    plan = _json(sections, "plan", {**written, "arrays": list(_arrays(program, sections))})
    features = flags_of(code_features(program.target, program.without))
    batch = batch_of(program)
    told = {
        "plan": plan.name,
        "code": code.name,
        "extents": extents.name,
        "target": program.target,
        "features": features,
        "threads": program.threads,
        "batch": batch,
    }
    sizes = plan.data.nbytes + extents.data.nbytes, code.data.nbytes
    return told, SavedVariant(program.target, program.threads, batch, *sizes)


def _json(sections: Sections, folder: str, content: dict[str, Any]) -> Section:
    return sections.add_bytes(folder, json.dumps(content, separators=(",", ":")).encode())


def _arrays(program: Program, sections: Sections) -> Iterator[dict[str, Any]]:
    """Every array's form, and how it is stored: what torch reads, and known results, as they are."""
    layers: dict[int, str] = {}
    plain = {weight.index for weight in weights_in(list(program.interface.known.values()))}
    for call in program.calls:
        read = [*call.arguments, *(dict(call.keywords).values() if isinstance(call, TorchCall) else ())]
        for weight in weights_in(read):
            layers.setdefault(weight.index, call.layer)
            if isinstance(call, TorchCall):
                plain.add(weight.index)
    for number, placed in enumerate(program.arrays):
        folder = f"weights/{layers.get(number, 'result')}"
        yield {
            "shape": placed.shape,
            "dtype": placed.dtype,
            "stored": _stored(program, number, folder, sections, plain=number in plain),
        }


def _stored(program: Program, number: int, folder: str, sections: Sections, *, plain: bool) -> Stored:
    placed = program.arrays[number]
    if number in program.made:
        return store_filters(program.made[number], folder, sections)
    array = array_at(program.weights, placed)
    if plain:
        return {"raw": sections.add(folder, array, placed.dtype, placed.shape).name}
    return store(array, placed.dtype, placed.shape, folder, sections)


def _check(programs: Sequence[Program]) -> None:
    """Raise where programs are none, are of several models, or where two are of one kind."""
    if not programs:
        raise OptionError("no compiled model is given: give at least one")
    first, kinds = programs[0].interface, set[Any]()
    for program in programs:
        face = program.interface
        forms = [(form.name, form.dtype, len(form.shape)) for form in face.inputs]
        same = forms == [(form.name, form.dtype, len(form.shape)) for form in first.inputs]
        if not same or face.structure != first.structure or face.known.keys() != first.known.keys():
            raise ProgramError(
                "the compiled models take other inputs, or return other results: save models of one network, "
                "for other CPUs, threads, batches or image sizes, together, and others in files of their own"
            )
        kind = program.target, program.without, program.threads, tuple(form.shape for form in face.inputs)
        if kind in kinds:
            raise OptionError(
                f"two of the compiled models are for {program.target}, {program.threads} threads and inputs "
                f"of shape {' and '.join(str(form.shape) for form in face.inputs)}: give one of a kind"
            )
        kinds.add(kind)
