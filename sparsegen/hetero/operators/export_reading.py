"""Reading a file of operators: every field checked, whoever wrote it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sparsegen.errors import ProblemError
from sparsegen.graph import ITEM_BYTES, ValueForm
from sparsegen.hetero.operators.export import ORIGINS, SCHEMA, ExportedModel, ExportedOperator, OperatorCost
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.operators.work import Work
from sparsegen.typed import typed
from sparsegen.wording import UNICODE, is_unicode

T = TypeVar("T")

_LARGEST = sys.float_info.max


@typed
def from_json(text: str) -> ExportedModel:
    """The operators that `export.to_json` wrote, or another program of that schema.

    Raises ProblemError, which names the field, for text that is no such object; for operators that are not in
    an order that runs, read or carry what is not there, or share a name; and for sizes, shares and seconds
    that cannot be.
    """
    try:
        written = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"the operators are no JSON: {error}") from error
    schema = written.get("schema") if isinstance(written, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        raise ProblemError(f"the operators have schema {schema!r}; this version reads {SCHEMA}")
    file = _Fields("the file", written)
    exported = ExportedModel(
        model=file.text("model"),
        fingerprint=file.text("fingerprint"),
        granularity=file.text("granularity"),
        inputs=file.each("inputs", _form),
        outputs=file.texts("outputs"),
        operators=file.each("operators", _operator),
    )
    _check(exported)
    return exported


class _Fields:
    """The fields of an object, by type; `where` names the object in messages."""

    def __init__(self, where: str, written: Any) -> None:
        if not isinstance(written, Mapping):
            raise ProblemError(f"{where} is {written!r}, where an object is needed")
        self.where, self.written = where, written

    def text(self, name: str) -> str:
        return self._unicode(name, self._of(name, str, "text"))

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._of(name, list, "a list of text")
        if not all(isinstance(each, str) for each in found):
            raise ProblemError(f"{self.where}: {name} is {found!r}, where a list of text is needed")
        return tuple(self._unicode(name, each) for each in found)

    def count(self, name: str) -> int:
        found = self._of(name, int, "a whole number")
        if isinstance(found, bool) or found < 0:
            raise ProblemError(f"{self.where}: {name} is {found!r}, where a whole number from 0 is needed")
        return int(found)

    def number(self, name: str, low: float, high: float) -> float:
        found = self._of(name, (int, float), "a number")
        if isinstance(found, bool) or not low <= found <= high or found > _LARGEST:
            raise ProblemError(
                f"{self.where}: {name} is {found!r}, where a number from {low:g} to {high:g} is needed"
            )
        return float(found)

    def counts(self, name: str) -> tuple[int, ...]:
        found = self._of(name, list, "a list of whole numbers")
        if not all(type(each) is int and each >= 0 for each in found):
            raise ProblemError(f"{self.where}: {name} is {found!r}, where whole numbers from 0 are needed")
        return tuple(found)

    def each(self, name: str, read: Callable[[_Fields], T]) -> tuple[T, ...]:
        found = self._of(name, list, "a list of objects")
        return tuple(read(_Fields(f"{self.where}, {name}[{at}]", one)) for at, one in enumerate(found))

    def _unicode(self, name: str, found: str) -> str:
        if not is_unicode(found):
            raise ProblemError(f"{self.where}: {name} is {found!r}, where {UNICODE} is needed")
        return found

    def _of(self, name: str, kind: type | tuple[type, ...], what: str) -> Any:
        if name not in self.written:
            raise ProblemError(f"{self.where} has no {name!r}")
        found = self.written[name]
        if not isinstance(found, kind):
            raise ProblemError(f"{self.where}: {name} is {found!r}, where {what} is needed")
        return found


def _form(fields: _Fields) -> ValueForm:
    form = ValueForm(fields.text("name"), fields.counts("shape"), fields.text("dtype"))
    if form.dtype not in ITEM_BYTES:
        raise ProblemError(f"{fields.where}: dtype is {form.dtype!r}; there are {', '.join(ITEM_BYTES)}")
    return form


def _operator(fields: _Fields) -> ExportedOperator:
    operator = Operator(
        name=fields.text("name"),
        layers=fields.texts("layers"),
        reads=fields.texts("reads"),
        inputs=fields.each("inputs", _form),
        outputs=fields.each("outputs", _form),
        carries=fields.texts("carries"),
    )
    if fields.count("bytes") != operator.bytes:
        raise ProblemError(
            f"{fields.where}: bytes is {fields.count('bytes')}; its outputs have {operator.bytes}"
        )
    work = Work(
        kinds=fields.texts("kinds"),
        multiply_adds=fields.count("multiply_adds"),
        weight_bytes=fields.count("weight_bytes"),
        density=fields.number("density", 0, 1),
    )
    costs = fields.each("implementations", _cost)
    return ExportedOperator(operator, work, fields.text("fingerprint"), costs)


def _cost(fields: _Fields) -> OperatorCost:
    origin = fields.text("origin")
    if origin not in ORIGINS:
        raise ProblemError(f"{fields.where}: origin is {origin!r}; there are {', '.join(ORIGINS)}")
    return OperatorCost(
        device=fields.text("device"),
        implementation=fields.text("implementation"),
        threads=fields.count("threads"),
        seconds=fields.number("seconds", 0, math.inf),
        origin=origin,
    )


def _check(exported: ExportedModel) -> None:
    """Raise ProblemError where operators and values do not go together."""
    if not exported.operators:
        raise ProblemError("the file has no operators")
    names = {each.operator.name for each in exported.operators}
    inputs = {form.name for form in exported.inputs}
    done, values = set(inputs), set(inputs)
    for each in exported.operators:
        operator = each.operator
        if operator.name in done:
            raise ProblemError(f"{operator.name!r} is the name of two operators, or of an input too")
        for kind, there, found in (
            ("reads", done, operator.reads),
            ("takes", values, [form.name for form in operator.inputs]),
            ("carries", names, operator.carries),
        ):
            missing = next((name for name in found if name not in there), None)
            if missing is not None:
                raise ProblemError(
                    f"operator {operator.name!r} {kind} {missing!r}, which is not there before it: "
                    "operators stand in an order that runs"
                )
        done.add(operator.name)
        values |= {form.name for form in operator.outputs}
    missing = next((name for name in exported.outputs if name not in values), None)
    if missing is not None:
        raise ProblemError(f"the model's output {missing!r} is no operator's")
