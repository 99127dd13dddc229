"""Rules: what may stand in an operator's place. One registered piece each, found by the operator's name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.site import Site

Kind = Literal["decomposed", "approximated"]
"""Computes the same, but for rounding; or to within an error that the caller allows."""
Rewriting = Callable[[Site, Draft], str]
"""Adds layers to the draft, and names the value that stands for the site's result.

Raises RefusalError, with the reason, where the rule does not serve the site.
"""


class RefusalError(Exception):
    """Why a rule does not serve a site, as a phrase."""


@dataclass(frozen=True)
class Rule:
    """What may stand in the place of operators of these names, see `Site.name`.

    within_limits: makes smaller operators of the same name, for a device that has it, but not so large; of no
    use where these are refused for the same reason.
    """

    name: str
    operators: tuple[str, ...]
    kind: Kind
    rewrite: Rewriting
    within_limits: bool = False


_RULES: defaultdict[str, list[Rule]] = defaultdict(list)


def rule(
    name: str, *operators: str, kind: Kind = "decomposed", within_limits: bool = False
) -> Callable[[Rewriting], Rewriting]:
    """Register a function as the rule of a name for operators of these names."""

    def register(rewrite: Rewriting) -> Rewriting:
        made = Rule(name, operators, kind, rewrite, within_limits)
        for operator in operators:
            _RULES[operator].append(made)
        return rewrite

    return register


def rules_for(operator: str) -> Sequence[Rule]:
    """The rules for operators of a name, in the order in which they were registered."""
    import sparsegen.rewriting.rules  # noqa: F401  all rules register themselves

    return tuple(_RULES.get(operator, ()))


def all_rules() -> list[Rule]:
    """Every rule once."""
    import sparsegen.rewriting.rules  # noqa: F401  all rules register themselves

    return list({each.name: each for found in _RULES.values() for each in found}.values())
