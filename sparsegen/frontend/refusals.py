"""Operators that are not supported: refused one by one, told of all together."""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.errors import UnsupportedOperator, UnsupportedOperatorError, warn
from sparsegen.graph import Extern, LayerGraph

_SHOWN = 3
"""Modules that a message names of each operator."""


class RefusedCallError(Exception):
    """One call of an operator that is not supported: translation collects these."""

    def __init__(self, operator: str, path: str, reason: str) -> None:
        super().__init__(f"{operator} in {describe_path(path)}: {reason}")
        self.operator = operator
        self.path = path
        self.reason = reason


def unsupported(refusals: Sequence[RefusedCallError]) -> UnsupportedOperatorError:
    """The error that tells of all refusals of a model: one record an operator and reason."""
    modules: dict[tuple[str, str], dict[str, None]] = {}
    for refusal in refusals:
        modules.setdefault((refusal.operator, refusal.reason), {})[refusal.path] = None
    first, *others = (
        UnsupportedOperator(operator, tuple(paths), reason) for (operator, reason), paths in modules.items()
    )
    message = f"operator {first.operator} in {_places(first.modules)} is not supported: {first.reason}. "
    if others:
        listed = (f"{each.operator} in {_places(each.modules)}: {each.reason}" for each in others)
        message += f"{len(others)} more {'is' if len(others) == 1 else 'are'} not: {'; '.join(listed)}. "
    message += (
        "README.md lists what is, under 'Supported'; by ATen name, "
        "sparsegen.frontend.operators.supported_operators() does"
    )
    return UnsupportedOperatorError(message, (first, *others))


def warn_of_torch(graph: LayerGraph) -> None:
    """Warn, once, of the operators of a graph that torch computes: their names, calls and modules."""
    calls: dict[str, list[str]] = {}
    for layer in graph.layers:
        if isinstance(layer.core, Extern):
            name, operator = layer.name.partition("#")[0], str(layer.core.overload)
            calls.setdefault(operator, []).append("" if name in operator.split(".") else name)
    if not calls:
        return
    listed = (
        f"{operator} ({'1 call' if len(paths) == 1 else f'{len(paths)} calls'}, "
        f"in {_places(tuple(dict.fromkeys(paths)))})"
        for operator, paths in sorted(calls.items(), key=lambda item: -len(item[1]))
    )
    warn(
        f"torch itself computes operators for which sparsegen has no kernel: {'; '.join(listed)}. "
        f'fallback="error" refuses such a model instead'
    )


def describe_path(path: str) -> str:
    """A module path as messages name it."""
    return f"module '{path}'" if path else "the model itself"


def describe_tensor(name: str) -> str:
    """A parameter or buffer as messages name it."""
    path, _, kind = name.rpartition(".")
    return f"'{kind}' of {describe_path(path)}"


def _places(paths: Sequence[str]) -> str:
    """The modules in a few words: the first few by name."""
    if len(paths) == 1:
        return describe_path(paths[0])
    shown = [f"'{path}'" if path else "the model itself" for path in paths[:_SHOWN]]
    rest = len(paths) - len(shown)
    if rest:
        return f"modules {', '.join(shown)} and {rest} more"
    return f"modules {', '.join(shown[:-1])} and {shown[-1]}"
