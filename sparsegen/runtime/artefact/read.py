"""Programs read from a file: what models that torch takes part in are loaded from, and tests look at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sparsegen_runtime.errors import DamageError, read_from
from sparsegen_runtime.sections import Sections

from sparsegen.errors import ProgramError, TargetError
from sparsegen.runtime.artefact.unstored import unstored
from sparsegen.runtime.check import check_program
from sparsegen.runtime.memory import place_arrays
from sparsegen.runtime.program import Program, TorchCall
from sparsegen.runtime.program_json import from_json
from sparsegen.target import check_runs

_ALWAYS_CHECKED = ("plan/", "code/", "extents/")


def read_programs(
    path: str | os.PathLike[str], *, verify: bool = False, anywhere: bool = False
) -> list[Program]:
    """The programs of a file that run on this machine, or `anywhere`, the best first.

    With `verify` the weights' sums are checked, too. Raises ProgramError for a file that cannot be read or
    is damaged, and TargetError where none of its programs runs here.
    """
    sections = Sections(path)
    for name in sections.names:
        if verify or name.startswith(_ALWAYS_CHECKED):
            sections.bytes_of(name, check=True)
    found, lacking = [], None
    with read_from(path):
        needs_torch = sections.manifest["needs_torch"]
        if not isinstance(needs_torch, bool):
            raise DamageError("it does not tell whether it needs torch")
        for variant in sections.manifest["variants"]:
            plan = json.loads(sections.bytes_of(variant["plan"]).tobytes())
            if not anywhere:
                try:
                    check_runs(str(plan["target"]), tuple(plan["without"]))
                except TargetError as error:
                    lacking = error
                    continue
            found.append(_program(variant, plan, sections))
            _check_told(variant, found[-1], needs_torch=needs_torch)
    if not found:
        raise lacking or ProgramError(f"{path}: the file is damaged: it has no variants; write it again")
    return found


def _program(variant: Mapping[str, Any], plan: dict[str, Any], sections: Sections) -> Program:
    """A variant's program, sound: its arrays in a block of their own."""
    extents = json.loads(sections.bytes_of(variant["extents"]).tobytes())
    block, places = place_arrays([unstored(entry, sections) for entry in plan["arrays"]])
    arrays = [
        {**asdict(place), "shape": entry["shape"], "dtype": entry["dtype"]}
        for place, entry in zip(places, plan["arrays"], strict=True)
    ]
    written = {**plan, "arrays": arrays, "signatures": extents["signatures"]}
    code = sections.bytes_of(variant["code"]).tobytes()
    try:
        program = from_json(written, block, code)
        check_program(program)
    except ProgramError as error:
        raise ProgramError(f"{sections.path}: {error}") from error
    return program


def _check_told(told: Mapping[str, Any], program: Program, *, needs_torch: bool) -> None:
    """Raise DamageError where the manifest tells of a variant what its plan does not say."""
    if any(isinstance(call, TorchCall) for call in program.calls) and not needs_torch:
        raise DamageError("torch computes some of its operators, and it says that it needs no torch")
    batch = told["batch"]
    if (told["target"], told["threads"]) != (program.target, program.threads) or (
        batch is not None and any(form.shape[:1] != (batch,) for form in program.interface.inputs)
    ):
        raise DamageError("a variant's target, threads or batch are not those of its plan")
