"""Which schedule a workload gets: its own best, else its neighbour's, else none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from sparsegen.database.exported import as_text
from sparsegen.database.journal import Journal, Log
from sparsegen.database.lookup import Database, Found, Source, distance
from sparsegen.database.trial import Race, Trial
from sparsegen.database.tuned import Tuned, best_of
from sparsegen.database.workload import Setting, Workload
from sparsegen.errors import SparsegenError
from tests.database.records import CONV, ELSEWHERE, HERE, POOL, race, trial, workloads
from tests.database.spaces import Panels, space


def tuned(rows: int, *, ms: float = 1.0, setting: Setting = HERE, **workload: Any) -> Tuned:
    return Tuned(replace(CONV, **workload), setting, "panels", {"rows": rows}, ms, 2.0, 9)


def database(*schedules: Tuned, portable: bool = False, name: str = "log") -> Database:
    return Database((Source(name, schedules, portable),))


def rows(found: Found | None) -> int:
    assert found is not None
    assert isinstance(found.schedule, Panels)
    return found.schedule.rows


def journal(path: Path, *records: Trial | Race) -> Path:
    with Journal.open(path) as log:
        for record in records:
            log.append(record)
    return path


def test_the_least_median_is_the_best(tmp_path: Path) -> None:
    path = journal(
        tmp_path / "log.jsonl",
        trial(4, 2.0, 2.0, 2.1, origin="default"),
        trial(5, 0.1, 1.5, 1.6),
        trial(6, 1.0, 1.7, 1.8),
        trial(7, error="killed"),
        trial(8, 0.5, workload=POOL),
        trial(3, 0.2, setting=ELSEWHERE),
    )
    found = Database.read(path)
    assert found.find(CONV, HERE, space()) == Found(Panels(rows=5), str(path), "tuned")
    assert rows(found.find(CONV, ELSEWHERE, space())) == 3
    (best, *_) = found.sources[0].schedules
    assert (best.ms, best.default_ms, best.gain, best.trials) == (1.5, 2.0, 2.0 / 1.5, 4)


def test_the_last_race_decides(tmp_path: Path) -> None:
    path = journal(
        tmp_path / "log.jsonl",
        trial(4, 2.0, origin="default"),
        trial(5, 1.5),
        trial(6, 1.6),
        race({5: 1.5, 6: 1.4}),
        race({4: 1.9, 6: 1.75, 5: 1.7}),
        trial(7, 1.0),
    )
    found = Database.read(path)
    assert rows(found.find(CONV, HERE, space())) == 5
    (best,) = found.sources[0].schedules
    assert (best.ms, best.default_ms, best.trials) == (1.7, 1.9, 4)


def test_a_wrong_result_is_never_the_best(tmp_path: Path) -> None:
    wrong = trial(5, error="off by 0.1", status="wrong result")
    path = journal(tmp_path / "log.jsonl", trial(5, 1.0), trial(6, 1.5), wrong, race({6: 1.5, 5: 1.0}))
    assert rows(Database.read(path).find(CONV, HERE, space())) == 6


def test_failures_alone_come_to_nothing(tmp_path: Path) -> None:
    path = journal(tmp_path / "log.jsonl", trial(5), trial(6))
    found = Database.read(path)
    assert found.find(CONV, HERE, space()) is None
    assert not found.covers(CONV, HERE)


@pytest.mark.parametrize("field", ["machine", "threads", "sparsegen", "tvm", "isa", "cpu"])
def test_what_a_journal_measured_elsewhere_is_not_the_best_here(field: str) -> None:
    here = replace(HERE, **{field: 7 if field == "threads" else "other"})
    found = database(tuned(5))
    assert found.find(CONV, here, space()) is None
    assert not found.covers(CONV, here)


@pytest.mark.parametrize(
    ("field", "holds"),
    [
        ("machine", True),
        ("sparsegen", True),
        ("tvm", True),
        ("threads", False),
        ("isa", False),
        ("cpu", False),
    ],
)
def test_exported_schedules_are_of_a_cpu_family(field: str, holds: bool) -> None:
    here = replace(HERE, **{field: 7 if field == "threads" else "other"})
    found = database(tuned(5), portable=True)
    assert (found.find(CONV, here, space()) is not None) == holds
    assert found.covers(CONV, here) == holds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operator", "linear"),
        ("input", (1, 64, 56, 56)),
        ("output", (16, 64, 28, 28)),
        ("parameters", (("weight", (64, 64, 1, 1)),)),
        ("lanes", "pixels"),
    ],
)
def test_another_shape_is_never_near(field: str, value: Any) -> None:
    other = replace(CONV, **{field: value})
    assert database(tuned(5)).find(other, HERE, space()) is None
    assert not database(tuned(5)).covers(other, HERE)


def test_the_nearest_takes_over_where_there_is_no_best() -> None:
    found = database(
        tuned(1, structure="vector:4"),
        tuned(2, density=0.4),
        tuned(3, density=0.7),
        tuned(4, structure="dense", density=1.0),
    )
    nearest = found.find(CONV, HERE, space())
    assert nearest == Found(Panels(rows=2), "log", "nearest")
    assert rows(found.find(replace(CONV, density=0.64), HERE, space())) == 3
    assert rows(found.find(replace(CONV, structure="vector:8"), HERE, space())) == 1
    assert rows(found.find(replace(CONV, structure="dense", density=1.0), HERE, space())) == 4
    assert found.find(replace(CONV, density=0.1), HERE, space()) is None
    assert found.covers(replace(CONV, density=0.1), HERE)
    assert rows(found.find(replace(CONV, structure="block:4x4"), HERE, space())) == 1
    assert rows(found.find(replace(CONV, structure="2:5", density=0.4), HERE, space())) == 2
    combined = replace(CONV, structure="column-combined, groups of 2.1", density=0.4)
    assert found.find(combined, HERE, space()) is None


def test_any_sparsity_is_near_where_zeros_are_multiplied() -> None:
    found = database(tuned(1, density=1.0, structure="dense"), tuned(2))
    assert found.find(CONV, HERE, space(zeros_matter=False)) == Found(Panels(rows=2), "log", "tuned")
    other = replace(CONV, density=0.02, structure="column-combined, groups of 9")
    assert found.find(other, HERE, space()) is None
    nearest = found.find(other, HERE, space(zeros_matter=False))
    assert nearest is not None
    assert nearest.how == "nearest"
    assert rows(database(tuned(3, density=0.9)).find(other, HERE, space(zeros_matter=False))) == 3


def test_what_is_not_legal_gives_way_to_the_next() -> None:
    found = database(tuned(9), tuned(6, density=0.49), tuned(5, density=0.45))
    assert found.find(CONV, HERE, space(most=9)) == Found(Panels(rows=9), "log", "tuned")
    assert found.find(CONV, HERE, space()) == Found(Panels(rows=6), "log", "nearest")
    assert rows(found.find(CONV, HERE, space(most=5))) == 5
    assert found.find(CONV, HERE, space(most=4)) is None
    assert found.find(CONV, HERE, space(kernel="rows")) is None


@pytest.mark.parametrize("schedule", [{"rows": "4"}, {"rows": True}, {"columns": 4}, {"prefetch": 1}])
def test_schedules_of_other_knobs_or_types_are_not_legal(schedule: dict[str, Any]) -> None:
    strange = replace(tuned(4), schedule=schedule)
    assert database(strange).find(CONV, HERE, space()) is None


def test_a_best_in_any_source_goes_before_the_nearest() -> None:
    first, second = database(tuned(1, density=0.52), name="mine"), database(tuned(2), portable=True)
    assert rows((first | second).find(CONV, HERE, space())) == 2
    first = first | database(tuned(3), name="mine too")
    assert rows((first | second).find(CONV, HERE, space())) == 3
    assert rows((second | first).find(CONV, HERE, space())) == 2


def test_ties_are_broken_in_one_way() -> None:
    wanted = replace(CONV, density=0.25, structure="2:4")
    same = [tuned(1, density=0.25, structure="1:4"), tuned(2, density=0.25, structure="3:4")]
    assert rows(database(*same).find(wanted, HERE, space())) == 1
    assert rows(database(*reversed(same)).find(wanted, HERE, space())) == 1


@given(workloads, workloads)
def test_distance_is_symmetric_and_nought_to_itself(one: Workload, other: Workload) -> None:
    assert distance(one, one) == 0
    assert distance(one, other) == pytest.approx(distance(other, one))
    if one.structure != other.structure:
        assert distance(one, other) > 0


@pytest.mark.parametrize(
    ("earlier", "name"),
    [
        ("vectors of 4", "vector:4"),
        ("kernels of 8", "kernel:8"),
        ("kernels", "kernel:1"),
        ("blocks of 4x2", "block:4x2"),
        ("2:4", "2:4"),
        ("column-combined, groups of 7.9", "column-combined, groups of 7.9"),
    ],
)
def test_structures_of_earlier_journals_are_read(earlier: str, name: str) -> None:
    assert Workload.from_dict({**CONV.as_dict(), "structure": earlier}).structure == name


def test_rows_that_choose_together_are_near_each_other_alone() -> None:
    texts = ("vector:4", "2:4x4", "kernel:4", "kernel:1", "2:4")
    vectors, pattern, kernels, single, apart = (replace(CONV, structure=text) for text in texts)
    assert distance(vectors, pattern) < 1 < distance(pattern, apart)
    assert all(distance(each, kernels) > 1 for each in (vectors, pattern, single, apart))


def test_kinds_are_farther_apart_than_sizes() -> None:
    four, eight, blocks, pattern = (
        replace(CONV, structure=text) for text in ("vector:4", "vector:8", "block:4x4", "2:4")
    )
    assert (
        0 < distance(four, eight) < distance(four, blocks) == distance(CONV, pattern) < distance(four, CONV)
    )


def test_files_are_told_by_their_content(tmp_path: Path) -> None:
    exported, log = tmp_path / "schedules.txt", tmp_path / "log.json"
    exported.write_text(as_text(HERE, [tuned(5)]))
    journal(log, trial(6, 1.0))
    assert rows(Database.read(exported).find(CONV, ELSEWHERE, space())) == 5
    assert Database.read(str(log)).find(CONV, ELSEWHERE, space()) is None
    assert rows(Database.read(log).find(CONV, HERE, space())) == 6
    log.write_text(log.read_text().replace('{"type":"header",', '{ "type": "header", '))
    assert rows(Database.read(log).find(CONV, HERE, space())) == 6
    with pytest.raises(SparsegenError, match="is a folder"):
        Database.read(tmp_path)
    with pytest.raises(SparsegenError, match=r"cannot read .*absent"):
        Database.read(tmp_path / "absent")
    exported.write_bytes(b"\x00\xff")
    with pytest.raises(SparsegenError, match="is neither a journal of trials nor a file of exported"):
        Database.read(exported)


def test_an_empty_database_has_nothing() -> None:
    assert Database().find(CONV, HERE, space()) is None
    assert not Database().covers(CONV, HERE)
    assert best_of(Log()) == []
