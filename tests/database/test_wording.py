"""Workloads in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from sparsegen.database.wording import batch_of, operator_phrase, workload_phrase, zeros_phrase
from sparsegen.database.workload import Workload
from tests.database.records import CONV, POOL, workloads


def conv(channels: tuple[int, int] = (64, 64), kernel: int = 3, **parameters: Any) -> Workload:
    """A convolution of `channels` (in, out) at 56x56, padded so that its size stays."""
    groups = parameters.get("groups", 1)
    usual = {
        "weight": (channels[1], channels[0] // groups, kernel, kernel),
        "stride": (1, 1),
        "padding": (kernel // 2,) * 4,
        "dilation": (1, 1),
        "groups": groups,
    }
    return replace(CONV, input=(16, channels[0], 56, 56), parameters=tuple({**usual, **parameters}.items()))


def test_a_workload_in_words() -> None:
    assert workload_phrase(CONV) == "3x3 conv 64→64 at 56x56, 50% unstructured, batch 16"
    assert workload_phrase(POOL) == "3x3 max pool 64 at 112x112, dense, batch 16"


@pytest.mark.parametrize(
    ("workload", "phrase"),
    [
        (conv(kernel=1), "1x1 conv 64→64 at 56x56"),
        (conv((64, 128), stride=(2, 2)), "3x3 conv 64→128 at 56x56, stride 2"),
        (conv(stride=(2, 1)), "3x3 conv 64→64 at 56x56, stride 2x1"),
        (conv(kernel=7, dilation=(2, 2), padding=(6,) * 4), "7x7 conv 64→64 at 56x56, dilation 2"),
        (conv(padding=(0,) * 4), "3x3 conv 64→64 at 56x56, padding 0"),
        (conv(padding=(0, 1, 0, 1)), "3x3 conv 64→64 at 56x56, padding 0x1x0x1"),
        (conv(groups=64), "3x3 depthwise conv 64→64 at 56x56"),
        (conv(groups=4), "3x3 conv in 4 groups 64→64 at 56x56"),
        (
            replace(CONV, operator="linear", input=(16, 512), parameters=(("weight", (1000, 512)),)),
            "linear 512→1000",
        ),
        (
            replace(CONV, operator="linear", input=(4, 197, 768), parameters=(("weight", (64, 768)),)),
            "linear 768→64 at 197",
        ),
        (
            replace(POOL, operator="adaptivepool2d", parameters=(("kind", "avg"), ("output", (1, 1)))),
            "avg pool 64 at 112x112 to 1x1",
        ),
    ],
)
def test_operators_in_words(workload: Workload, phrase: str) -> None:
    assert operator_phrase(workload) == phrase


@pytest.mark.parametrize(
    ("structure", "density", "phrase"),
    [
        ("unstructured", 0.12, "88% unstructured"),
        ("vector:8", 0.5, "50% vector:8"),
        ("block:4x4", 0.25, "75% block:4x4"),
        ("column-combined, groups of 7.9", 0.12, "88% column-combined, groups of 7.9"),
        ("2:4", 0.5, "2:4"),
        ("dense", 1.0, "dense"),
        ("all zero", 0.0, "all zero"),
    ],
)
def test_zeros_in_words(structure: str, density: float, phrase: str) -> None:
    assert zeros_phrase(replace(CONV, structure=structure, density=density)) == phrase


@given(workloads)
def test_whatever_a_log_holds_has_words(workload: Workload) -> None:
    assert str(batch_of(workload)) in workload_phrase(workload)


@pytest.mark.parametrize("operator", ["conv2d", "linear", "pool2d", "adaptivepool2d", "softmax"])
@given(workload=workloads)
def test_parameters_of_other_operators_are_passed_over(operator: str, workload: Workload) -> None:
    assert "→" in operator_phrase(replace(workload, operator=operator))
