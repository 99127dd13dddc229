"""Scheduling problems as JSON, schema 1: seconds and bytes.

    {"schema": 1, "devices": ["a", "b"],
     "operators": [{"name": "x", "reads": ["w"], "bytes": 4096, "times": {"a": 0.001, "b": 0.002}}],
     "links": [{"from": "a", "to": "b", "latency": 1e-5, "bandwidth": 1e9}]}

Operators may come in any order. Optional: of an operator "carries", "invocation", "weights" and "group", as
in `Task`; of a link "exclusive", and "bus", a name or a list of names: links that name the same bus take
one transfer at a time together, where an exclusive link does so alone; beside the links "stores": {"a":
{"memory": 1e9, "cache": 7e6, "stream": 3e8}}, as in `Store`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsegen.errors import ProblemError, first_line
from sparsegen.hetero.problem.check_problem import checked
from sparsegen.hetero.problem.problem import Link, Problem, Store, Task
from sparsegen.wording import UNICODE, is_unicode

SCHEMA = 1
_PROBLEM = ({"schema", "devices", "operators"}, {"links", "stores"})
_OPERATOR = ({"name", "times"}, {"reads", "bytes", "carries", "invocation", "weights", "group"})
_LINK = ({"from", "to", "latency", "bandwidth"}, {"exclusive", "bus"})
_STORE: tuple[set[str], set[str]] = (set(), {"memory", "cache", "stream"})
"""Keys that have to be there, and those that may be."""


def read_problem(path: str | os.PathLike[str]) -> Problem:
    """The problem in a file, its tasks in an order that runs.

    Raises ProblemError, which names the file and the place in it, for whatever is no sound problem.
    """
    try:
        text = Path(path).read_bytes().decode()
        content = json.loads(text, object_pairs_hook=_object)
    except OSError as error:
        raise ProblemError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{path} is not JSON: {first_line(error)}") from error
    return parse_problem(content, str(path))


def parse_problem(content: object, source: str = "the problem") -> Problem:
    """A problem from what its JSON says, its tasks in an order that runs; `source` is named in errors.

    Raises ProblemError for whatever is no sound problem.
    """
    found = _record(content, _PROBLEM, source)
    if found["schema"] is True or found["schema"] != SCHEMA:
        raise ProblemError(f"{source} has schema {found['schema']!r}: this version reads schema {SCHEMA}")
    operators = _list(found["operators"], f"{source}: operators")
    links = _list(found.get("links", []), f"{source}: links")
    stores = _mapping(found.get("stores", {}), f"{source}: stores")
    problem = Problem(
        tuple(_names(found["devices"], f"{source}: devices")),
        tuple(_task(each, f"{source}: operator {number}") for number, each in enumerate(operators, 1)),
        tuple(_link(each, f"{source}: link {number}") for number, each in enumerate(links, 1)),
        {name: Store(**_record(each, _STORE, f"{source}: store {name!r}")) for name, each in stores.items()},
    )
    return checked(problem, source)


def problem_record(problem: Problem) -> dict[str, Any]:
    """A problem as JSON has it; what has its default is left out."""
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "devices": list(problem.devices),
        "operators": [_task_record(task) for task in problem.tasks],
        "links": [
            {"from": link.source, "to": link.target, "latency": link.latency, "bandwidth": link.bandwidth}
            | ({"exclusive": True} if link.exclusive else {})
            | ({"bus": link.buses[0] if len(link.buses) == 1 else list(link.buses)} if link.buses else {})
            for link in problem.links
        ],
    }
    if problem.stores:
        record["stores"] = {
            name: {key: value for key, value in vars(store).items() if value is not None}
            for name, store in problem.stores.items()
        }
    return record


def _task_record(task: Task) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": task.name,
        "reads": list(task.reads),
        "bytes": task.bytes,
        "times": dict(task.times),
    }
    optional: dict[str, Any] = {"carries": list(task.carries), "invocation": dict(task.invocation)}
    optional |= {"weights": task.weights, "group": task.group}
    return record | {key: value for key, value in optional.items() if value}


def _task(content: object, place: str) -> Task:
    found = _record(content, _OPERATOR, place)
    name = _name(found["name"], f"{place}: name")
    place = f"{place} ({name!r})"
    return Task(
        name,
        reads=tuple(_names(found.get("reads", []), f"{place}: reads")),
        bytes=found.get("bytes", 0),
        times=_mapping(found["times"], f"{place}: times"),
        carries=tuple(_names(found.get("carries", []), f"{place}: carries")),
        invocation=_mapping(found.get("invocation", {}), f"{place}: invocation"),
        weights=found.get("weights", 0),
        group=_text(found.get("group", ""), f"{place}: group"),
    )


def _link(content: object, place: str) -> Link:
    found = _record(content, _LINK, place)
    exclusive = found.get("exclusive", False)
    if not isinstance(exclusive, bool):
        raise ProblemError(f"{place}: exclusive is {exclusive!r}: give true or false")
    return Link(
        _name(found["from"], f"{place}: from"),
        _name(found["to"], f"{place}: to"),
        found["latency"],
        found["bandwidth"],
        exclusive,
        _buses(found.get("bus", []), f"{place}: bus"),
    )


def _buses(content: object, place: str) -> tuple[str, ...]:
    return (_name(content, place),) if isinstance(content, str) else tuple(_names(content, place))


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """What json.loads makes of an object; ValueError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return found


def _record(content: object, keys: tuple[Collection[str], Collection[str]], place: str) -> dict[str, Any]:
    """An object with all keys of the first kind, and with none that is of neither."""
    found = dict(_mapping(content, place))
    needed, optional = keys
    for key in sorted(needed):
        if key not in found:
            raise ProblemError(f"{place} has no {key!r}: give it")
    for key in found:
        if key not in needed and key not in optional:
            allowed = ", ".join(sorted({*needed, *optional}))
            raise ProblemError(f"{place} has the unknown key {key!r}: allowed are {allowed}")
    return found


def _mapping(content: object, place: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise ProblemError(f"{place} is {_short(content)}: an object is needed")
    return content


def _list(content: object, place: str) -> Sequence[Any]:
    if not isinstance(content, list | tuple):
        raise ProblemError(f"{place} is {_short(content)}: a list is needed")
    return content


def _names(content: object, place: str) -> list[str]:
    return [_name(each, place) for each in _list(content, place)]


def _name(content: object, place: str) -> str:
    if not _text(content, place):
        raise ProblemError(f"{place} has an empty name: give one")
    return str(content)


def _text(content: object, place: str) -> str:
    if not isinstance(content, str):
        raise ProblemError(f"{place} has {_short(content)}: a name in quotes is needed")
    if not is_unicode(content):
        raise ProblemError(f"{place} is {_short(content)}: {UNICODE} is needed")
    return content


def _short(content: object) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:57]}..."
