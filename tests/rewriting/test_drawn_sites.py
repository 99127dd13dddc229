"""Every rule that does not refuse keeps shapes and numbers, in float64, on sites of drawn shapes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, Rule, all_rules, rules_for
from tests.rewriting.drawn_sites import Drawn, drawn_site
from tests.rewriting.rewritings import as_it_is, drafted, in_float64
from tests.sampling import examples

OPERATORS = sorted({operator for rule in all_rules() for operator in rule.operators})
JUMPING = ("floor", "ceil", "trunc", "round", "sign", "hardshrink", "threshold")
MAX_ERROR = 0.05
FLOAT32 = 2e-6  # weights of resizes and of sums of ReLUs are float32


@pytest.mark.parametrize("operator", OPERATORS)
@given(seed=st.integers(0, 1 << 30))
@examples(4, soak=200)
def test_rules_keep_shapes_and_numbers(operator: str, seed: int) -> None:
    case = drawn_site(operator, seed)
    assert case.site.name == operator
    expected = in_float64(as_it_is(case.site), *case.values)
    for rule in rules_for(operator):
        check(rule, case, expected)


def check(rule: Rule, case: Drawn, expected: torch.Tensor) -> None:
    """Compare what a rule makes of a site with what it stands for; nothing where it refuses."""
    draft = Draft(case.site, MAX_ERROR)
    try:
        graph = drafted(rule.name, case.site, MAX_ERROR)
        rule.rewrite(case.site, draft)
    except RefusalError:
        return
    told = f"{rule.name} of {case.site}"
    found = in_float64(graph, *case.values)
    assert found.shape == expected.shape == case.site.shape, told
    error = sum(each.error for each in draft.approximations)
    scale = 1 + float(expected.abs().max())
    float32 = rule.kind == "approximated" or case.site.name.startswith(("resize", "piecewise"))
    allowed = error + (10 * FLOAT32 if float32 else 1e-9) * scale
    assert float((found - expected).abs().max()) <= allowed, told
