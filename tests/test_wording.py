"""Short names of layers, and how shapes, structures and times are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.wording import dimensions, milliseconds, short_names, sparsity_phrase, threads_phrase

parts = st.sampled_from(
    ["features", "body", "conv", "conv1", "conv2", "stage1", "stage2", "0", "1", "downsample"]
)
paths = st.lists(parts, min_size=1, max_size=5).map(".".join)


def test_common_parts_go() -> None:
    names = ["features.stage1.unit1.body.conv1.conv", "features.stage1.unit1.body.conv2.conv"]
    names.append("features.stage1.unit1.identity.conv")
    assert short_names(names) == ["stage1.unit1.conv1", "stage1.unit1.conv2", "stage1.unit1.identity"]


def test_rare_parts_stay() -> None:
    names = ["layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0"]
    assert short_names(names) == names


def test_a_single_name_keeps_what_tells_its_place() -> None:
    assert short_names(["features.stage1.conv"]) == ["stage1"]
    assert short_names(["conv"]) == ["conv"]
    assert short_names([]) == []


@given(st.lists(paths, max_size=8, unique=True))
def test_different_names_stay_different(names: list[str]) -> None:
    short = short_names(names)
    assert len(set(short)) == len(names)
    assert all(short)


@pytest.mark.parametrize(
    ("structure", "sparsity", "phrase"),
    [
        ("unstructured", 0.5, "50% unstructured sparsity"),
        ("vector:8", 0.875, "87.5% vector:8 sparsity"),
        ("column-combined:annealing", 0.88, "88% column-combined:annealing sparsity"),
        ("2:4", 0.5, "2:4 sparsity"),
        ("unstructured", 0.0, "its own sparsity"),
    ],
)
def test_structures_read_well(structure: str, sparsity: float, phrase: str) -> None:
    assert sparsity_phrase(structure, sparsity) == phrase


def test_phrases() -> None:
    assert dimensions((64, 3, 3)) == "64x3x3"
    assert [milliseconds(time) for time in (0.1234, 4.567, 1234.5)] == ["0.123", "4.57", "1234"]
    assert (threads_phrase(1), threads_phrase(2)) == ("1 thread", "2 threads")
