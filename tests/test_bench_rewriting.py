"""What `bench.rewriting` makes of times: which plan is placed, means, and JSON that every reader takes."""

from __future__ import annotations

import json
import math

import pytest

from bench.rewriting_times import Simulated, means


def times(before_ms: float, rewritten_ms: float) -> Simulated:
    return Simulated(9.0, before_ms, rewritten_ms, 3, 0)


def test_what_rewriting_slows_down_stays_as_it_is() -> None:
    slower = times(2.0, 8.0)
    assert slower.placed_ms == 2.0
    assert slower.speedups == (0.25, 1.0)
    assert slower.record()["placed"] == "as it is"
    assert times(8.0, 2.0).record()["placed"] == "rewritten"


def test_means_are_of_both_and_leave_out_what_is_not_finite() -> None:
    found = means({"slower": times(1.0, 4.0), "faster": times(4.0, 1.0), "never": times(math.inf, 1.0)})
    assert found["networks"] == 2
    assert found["left_out"] == ["never"]
    assert found["rewritten"] == pytest.approx({"geometric": 1.0, "arithmetic": 2.125})
    assert found["placed"] == pytest.approx({"geometric": 2.0, "arithmetic": 2.5})
    assert means({"never": times(math.inf, 1.0)}) == {"networks": 0, "left_out": ["never"]}


def test_json_knows_no_infinity() -> None:
    told = times(math.inf, math.inf).record()
    json.dumps(told, allow_nan=False)
    assert told["before_ms"] is told["placed_ms"] is told["speedup_placed"] is None
    assert told["note"] == "no finite time of a plan: in no mean"
    assert "note" not in times(2.0, 1.0).record()
