"""How a model is called, as its plan has it: arguments by position and by name, of structures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sparsegen_runtime.arguments import bound, nested_otherwise, without_fixed
from sparsegen_runtime.errors import DamageError
from sparsegen_runtime.structures import Node, Structure, UnknownClassError, describe, read_structure


def result_structure(plan: Mapping[str, Any]) -> Structure | None:
    """The structure of a model's result; None, and a warning, where its class is not known here.

    Raises LookupError, TypeError or ValueError for what is none.
    """
    try:
        return read_structure(plan["structure"])
    except UnknownClassError as error:
        _tell(f"the model returns the class {error.name}", "its parts are returned as a flat list")
        return None


def call_form(plan: Mapping[str, Any], inputs: int) -> CallForm | None:
    """How a model of so many inputs is called; None: by position, its tensors one after the other.

    A warning tells where that stands for arguments of a class that is not known here. Raises LookupError,
    TypeError or ValueError for what is no such form.
    """
    if plan["call"] is None:
        return None
    try:
        return CallForm(plan["call"], inputs)
    except UnknownClassError as error:
        _tell(f"the model takes the class {error.name}", "its tensors are given one after the other")
        return None


def _tell(what: str, then: str) -> None:
    warnings.warn(
        f"{what}, which is not known here: {then}; where torch is loaded, and the class registered there, "
        "before the model is, they keep their structure",
        stacklevel=5,
    )


class CallForm:
    """How a model is called: with positional and named arguments, that leaves make up."""

    def __init__(self, written: Mapping[str, Any], inputs: int) -> None:
        self._names = tuple(map(str, written["names"]))
        self._positional = int(written["positional"])
        self._leaves = tuple(map(str, written["leaves"]))
        self._fixed = {
            int(place): float(value["float"]) if isinstance(value, dict) and "float" in value else value
            for place, value in written["fixed"].items()
        }
        self._structure = read_structure(written["spec"])
        leaves = len(self._leaves)
        if self._structure.count != leaves or not set(self._fixed) <= set(range(leaves)):
            raise DamageError(f"arguments of {self._structure.count} parts, {leaves} of which have names")
        if leaves - len(self._fixed) != inputs or not 0 <= self._positional <= len(self._names):
            raise DamageError(f"arguments of {leaves} parts for {inputs} inputs")
        self._fixed_arguments = _fixed_arguments(self._structure, self._fixed, len(self._names))
        flat = len(self._names) == self._positional == len(self._leaves)
        self.is_flat = flat and not self._fixed

    def leaves_of(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """The tensors among the arguments; raises InputError."""
        arguments = bound(self._names, self._positional, self._fixed_arguments, inputs, named)
        by_name = dict(zip(self._names[self._positional :], arguments[self._positional :], strict=True))
        given = tuple(arguments[: self._positional]), by_name
        leaves = self._structure.leaves_of(given)
        if leaves is None:
            needed = _parts(self._structure.built(["*"] * len(self._leaves)))
            raise nested_otherwise(_parts(given), needed)
        return tuple(without_fixed(leaves, self._leaves, self._fixed))


def _parts(arguments: Any) -> str:
    """Arguments as one would write them, `*` for every leaf."""
    positional, named = arguments
    return f"{describe(tuple(positional))} and {describe(dict(named))}"


def _fixed_arguments(structure: Structure, fixed: Mapping[int, Any], count: int) -> dict[int, Any]:
    """The arguments that are one fixed leaf, by their place among the arguments."""
    if not isinstance(structure, Node):
        return {}
    positional, named = structure.parts
    if len(positional.parts) + len(named.parts) != count:
        raise DamageError(f"{count} names of arguments, which are others")
    leaf, found = 0, dict[int, Any]()
    for place, part in enumerate((*positional.parts, *named.parts)):
        if part.kind is None and leaf in fixed:
            found[place] = fixed[leaf]
        leaf += part.count
    return found
