"""A plan written down as JSON, with a schema's number, and read back strictly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sparsegen.errors import PlanError
from sparsegen.files import write_file
from sparsegen.hetero.plans import typed_json
from sparsegen.hetero.plans.check import check_plan
from sparsegen.hetero.plans.check_devices import devices_of
from sparsegen.hetero.plans.plan import Plan
from sparsegen.typed import typed

SCHEMA = 1


def to_json(plan: Plan) -> dict[str, Any]:
    """All of a plan; fields at their defaults are left out."""
    return {"schema": SCHEMA, **typed_json.written(plan)}


def from_json(found: Any, source: str = "the plan") -> Plan:
    """The sound plan that `to_json` wrote.

    Raises PlanError, which names `source` and the field, or what is unsound, for others.
    """
    schema = found.get("schema") if isinstance(found, dict) else None
    if type(schema) is not int or schema != SCHEMA:
        raise PlanError(f"{source} has schema {schema!r}; this version reads {SCHEMA}")
    try:
        plan = typed_json.read(Plan, {name: value for name, value in found.items() if name != "schema"})
    except ValueError as error:
        raise PlanError(f"{source}: {error}; make the plan again") from error
    check_plan(plan, source)
    devices_of(plan, source)
    return plan


@typed
def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan to a file. Raises SparsegenError where that fails."""
    write_file(Path(path), json.dumps(to_json(plan), indent=1) + "\n")


@typed
def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan from a file. Raises PlanError, which names it, where there is no sound plan in it."""
    try:
        found = typed_json.parse(Path(path).read_bytes())
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise PlanError(f"{path} is no plan: {error}") from error
    return from_json(found, str(path))
