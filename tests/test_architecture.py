"""Imports point down the list of rooms, or stay in one: the order is the way that a model walks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sparsegen

PACKAGE = Path(sparsegen.__file__).parent
ROOMS = (
    "__init__",
    "cli",
    "torch_backend",
    "doctor",
    "compare",
    "hetero",
    "tuner",
    "inspection",
    "packaging",
    "preparation",
    "compiler",
    "cache",
    "reports",
    "database",
    "rewriting",
    "frontend",
    "pruning",
    "torch_graph",
    "kernels",
    "formats",
    "lowering",
    "runtime",
)
READ_FROM_ANYWHERE = (
    "calibration",
    "cost",
    "cpuinfo",
    "devices",
    "dump",
    "errors",
    "files",
    "graph",
    "isa",
    "lazy",
    "noise",
    "options",
    "outputs",
    "progress",
    "reference",
    "stopwatch",
    "target",
    "typed",
    "wording",
)
FILES = sorted(PACKAGE.rglob("*.py"))
SOURCES_IN_C = sorted(path for suffix in ("c", "h", "cpp") for path in PACKAGE.rglob(f"*.{suffix}"))
LONGEST_LINE = 110


def room_of(module: str) -> str:
    """The room of a module of the package, the package itself being `__init__`."""
    _, *path = module.split(".")
    return path[0] if path else "__init__"


def imports(path: Path) -> list[str]:
    """Modules of the package that a file imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.split(".")[0] == "sparsegen"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE).with_suffix("")
    room = relative.parts[0]
    for module in imports(path):
        if room in ("__main__", "__init__") or room_of(module) in READ_FROM_ANYWHERE:
            continue
        if room in READ_FROM_ANYWHERE:
            pytest.fail(f"{relative}, which may be read from anywhere, reads {module}")
        if module == "sparsegen":  # the version or the public API, for the command
            assert room == "cli"
            continue
        assert ROOMS.index(room) <= ROOMS.index(room_of(module)), f"{relative} reads up: {module}"


def test_every_room_is_listed() -> None:
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES}
    assert rooms - {"__main__"} == {*ROOMS, *READ_FROM_ANYWHERE}


def test_lines_of_c_are_as_short_as_those_of_python() -> None:
    long = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in SOURCES_IN_C
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]
    assert SOURCES_IN_C
    assert not long
