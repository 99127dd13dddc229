"""The arithmetic of `bench.cost_prediction`: which networks teach, which operators count, the errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cost_evaluation import Operator, by_family, held_out, score
from bench.cost_measurements import MeasuredCall, Measurement, append, read
from sparsegen.errors import FileError
from sparsegen.hetero.costs.calls import Call

UNIT = 1e-3


def operator(*, predicted: float, rounds: tuple[float, float] = (1.0, 1.0), family: str = "f") -> Operator:
    return Operator(family, "n", (rounds[0] * UNIT, rounds[1] * UNIT), predicted * UNIT, UNIT, 0.0)


def _call(call: Call, median: float) -> MeasuredCall:
    return MeasuredCall(call, medians=(median, median), minima=(median / 2, median / 2))


def network(family: str, factor: float) -> Measurement:
    """Calls that take `factor` times their rough seconds; the last layer is of a kind of its own."""
    calls = [
        _call(
            Call(f"c{at}", f"l{at // 2}", "conv", (0.0, at * UNIT, 0.0, 0.0), {"size": float(at)}),
            at * factor * UNIT,
        )
        for at in range(1, 81)
    ]
    own = _call(Call("own", "own", f"only {family}", (0.0, 1.0, 0.0, 0.0), {}), 1.0)
    layers = tuple(dict.fromkeys(call.call.layer for call in calls))
    return Measurement(
        family, family, 0.0, 1, "cpu", "1", 3, 0.0, (layers, ("own",)), {"ours": (*calls, own)}
    )


def test_errors_are_weighted_by_time() -> None:
    operators = [
        operator(predicted=2.0),
        operator(predicted=8.0, rounds=(9.0, 11.0)),
        operator(predicted=100.0, rounds=(100.0, 100.0)),
        operator(predicted=9.0, rounds=(0.02, 0.02)),  # too short to count
    ]
    found = score(operators)
    assert found is not None
    assert found.operators == 3
    assert found.error == pytest.approx((1 + 2) / 111)
    assert found.repeated == pytest.approx(2 / 111, rel=0.05)
    assert found.rank == found.repeated_rank == 1.0
    assert score(operators[:2]) is None


def test_each_family_is_scored_apart() -> None:
    good = [operator(predicted=at, rounds=(at, at), family="good") for at in (1.0, 2.0, 3.0)]
    bad = [operator(predicted=2 * at, rounds=(at, at), family="bad") for at in (1.0, 2.0, 3.0)]
    found = by_family([*good, *bad])
    assert found["good"].error == pytest.approx(0)
    assert found["bad"].error == pytest.approx(1)


def test_a_family_is_predicted_from_the_others_alone() -> None:
    told: list[str] = []
    found = held_out([network("fast", 1.0), network("slow", 4.0)], "ours", told.append)
    assert told == ["fast", "slow"]
    for each in found["layer"]:
        if each.unknown:
            assert each.unknown == each.predicted
        else:
            factor = each.predicted / each.rough
            assert factor == pytest.approx(4.0 if each.family == "fast" else 1.0, rel=0.2)
    assert sum(each.unknown > 0 for each in found["layer"]) == 2
    assert len(found["block"]) == 4
    least = held_out([network("fast", 1.0), network("slow", 4.0)], "ours", told.append, "minima")
    for each, half in zip(found["layer"], least["layer"], strict=True):
        assert half.seconds == pytest.approx(each.seconds / 2)
    total = sum(each.seconds for each in found["block"])
    assert total == pytest.approx(sum(each.seconds for each in found["layer"]))


def test_measurements_are_kept_the_last_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    assert read(path) == []
    append(path, [network("a", 1.0), network("b", 1.0)])
    append(path, [network("a", 2.0)])
    found = {each.family: each for each in read(path)}
    assert found.keys() == {"a", "b"}
    assert found["a"].calls["ours"][0].medians == (2 * UNIT, 2 * UNIT)
    path.write_text("{}\n")
    with pytest.raises(FileError, match="cannot be read as measurements"):
        read(path)
