"""The memory plan never lets two values that exist at once share a byte."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from sparsegen.lowering.memory import Lifetime, plan_memory

lifetimes = st.builds(
    lambda size, first, length: Lifetime(size, first, first + length),
    st.integers(1, 100_000),
    st.integers(0, 12),
    st.integers(0, 6),
)


@given(values=st.lists(lifetimes, max_size=14))
def test_values_that_meet_do_not_overlap(values: list[Lifetime]) -> None:
    named = {str(i): value for i, value in enumerate(values)}
    plan = plan_memory(named)
    for (a, one), (b, other) in combinations(named.items(), 2):
        if one.meets(other):
            begin, end = plan.offsets[a], plan.offsets[a] + one.size
            assert end <= plan.offsets[b] or plan.offsets[b] + other.size <= begin
    assert all(plan.offsets[name] + value.size <= plan.peak_bytes for name, value in named.items())


@given(values=st.lists(lifetimes, min_size=1, max_size=14))
def test_live_bytes_bound_the_peak_from_below(values: list[Lifetime]) -> None:
    plan = plan_memory({str(i): value for i, value in enumerate(values)})
    assert max(value.size for value in values) <= plan.live_bytes <= plan.peak_bytes


def test_a_chain_reuses_its_memory() -> None:
    chain = {str(i): Lifetime(8192, i, i + 1) for i in range(10)}
    plan = plan_memory(chain)
    assert plan.peak_bytes == plan.live_bytes == 2 * 8192


def test_nothing_to_plan() -> None:
    assert plan_memory({}).peak_bytes == 0
