"""The journal: what was appended is read back, whatever happened in between."""

from __future__ import annotations

import json
import math
import os
import stat
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.database.journal import Journal, Log, read_journal
from sparsegen.database.trial import Race, Trial
from sparsegen.errors import JournalError, SparsegenError
from tests.database.records import CONV, ELSEWHERE, HERE, POOL, race, races, trial, trials

ROOT = Path(__file__).parents[2]


@pytest.fixture
def filled(path: Path) -> Path:
    """Three trials, one of them failed, and a race."""
    with Journal.open(path) as journal:
        journal.append(trial(4, 1.5, 1.25, features={"registers": 28.0}, features_version=2))
        journal.append(trial(2, workload=POOL, error="segmentation fault"))
        journal.append(trial(3, 1.75, setting=ELSEWHERE))
        journal.append(race({4: 1.5, 3: 1.25}))
    return path


@given(st.lists(st.one_of(trials, races), max_size=5))
def test_what_is_appended_is_read_back(records: list[Trial | Race]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        for record in records:
            with Journal.open(path) as journal:
                journal.append(record)
        log = read_journal(path) if records else Log()
    assert [*log.trials, *log.races] == sorted(records, key=lambda record: isinstance(record, Race))
    assert not log.skipped


def test_the_open_journal_knows_what_it_has(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(trial(4, 1.00004999))
        journal.append(race({4: 2.0}))
        assert journal.log == read_journal(path)
        assert journal.log.trials[0].times_ms == (1.0,)
    with Journal.open(path) as journal:
        assert journal.log == read_journal(path)


def test_lines_are_short_and_share_what_they_can(path: Path) -> None:
    features = {f"feature_number_{i}": math.pi * 10 ** (i % 5) for i in range(30)}
    knobs = {"rows": 4, "tile_h": 2, "tile_w": 4, "block": 32, "chunk": 1, "pixels_outer": True}
    knobs |= {"prefetch": True, "format": "masked_panels", "permuted": False}
    with Journal.open(path) as journal:
        for _ in range(100):
            times = tuple(math.e + i / 7 for i in range(7))
            journal.append(
                Trial(CONV, HERE, "panels", knobs, "ok", times, features=features, at="2026-11-22T20:37:04Z")
            )
    assert path.stat().st_size / 100 < 620
    kinds = [json.loads(line)["type"] for line in path.read_text().splitlines()]
    assert kinds == ["header", "workload", "setting", "features", *["trial"] * 100]


def test_features_that_are_not_numbers_stay_so(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(trial(4, 1.0, features={"a": math.nan, "b": math.inf, "c": 123456.0}))
    (found,) = read_journal(path).trials
    assert math.isnan(found.features["a"])
    assert math.isnan(found.features["b"])
    assert found.features["c"] == 123500


def test_long_errors_are_cut(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(trial(4, error="x" * 10_000))
    assert path.stat().st_size < 1500


def test_trials_of_other_settings_are_a_prior(filled: Path) -> None:
    log = read_journal(filled)
    assert [each.schedule["rows"] for each in log.measured(HERE)] == [4, 2]
    assert [each.schedule["rows"] for each in log.prior_for(HERE)] == [3]


def test_a_last_line_torn_anywhere_is_repaired(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a thousand times would take seconds
    data, whole = filled.read_bytes(), read_journal(filled)
    lines = data.splitlines()
    torn = tmp_path / "torn.jsonl"
    for size in range(len(data)):
        torn.write_bytes(data[:size])
        before = read_journal(torn)
        assert torn.read_bytes() == data[:size]
        assert not before.skipped
        assert before.trials == whole.trials[: len(before.trials)]
        # A line that lacks nothing but its newline counts.
        kinds = [json.loads(line)["type"] for line in data[:size].splitlines() if line in lines]
        assert len(before.trials) == kinds.count("trial")
        assert len(before.races) == kinds.count("race")
        with Journal.open(torn) as journal:
            assert journal.log == before
            journal.append(trial(7, 9.0))
        after = read_journal(torn)
        assert after.trials == [*before.trials, trial(7, 9.0)]
        assert not after.skipped


def test_a_line_that_lacks_only_its_newline_is_kept(filled: Path) -> None:
    whole = read_journal(filled)
    filled.write_bytes(filled.read_bytes()[:-1])
    assert read_journal(filled) == whole
    with Journal.open(filled):
        pass
    assert filled.read_bytes().endswith(b"\n")
    assert read_journal(filled) == whole


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\x00\xff\xfe", "decode"),
        (b"{", "Expecting"),
        (b"[1,2]", "no object"),
        (b'"trial"', "no object"),
        (b"[" * 100_000, "recursion"),
        (b'{"type":"trial"}', "lacks 'workload'"),
        (b'{"type":"trial","workload":"0123456789","setting":[]}', "no line defines the workload"),
        (b'{"type":"workload","id":"0123456789","content":{}}', "not what its id was made of"),
        (b'{"type":"comet","workload":"0123456789"}', "'comet'"),
        (b'{"type":7}', "no object with a type"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)
def test_a_damaged_line_is_skipped_and_named_once(filled: Path, damage: bytes, reason: str) -> None:
    whole = read_journal(filled)
    lines = filled.read_bytes().splitlines()
    filled.write_bytes(b"\n".join([lines[0], damage, *lines[1:], damage, b""]))
    with pytest.warns(UserWarning, match=rf"{filled}: 2 lines were skipped, the first of them line 2 "):
        log = read_journal(filled)
    assert (log.trials, log.races) == (whole.trials, whole.races)
    assert [number for number, _ in log.skipped] == [2, len(lines) + 2]
    if "type" not in reason:
        assert reason in log.skipped[0][1].lower() or reason in log.skipped[0][1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Journal.open(filled) as journal:
            journal.append(trial(9, 3.0))
    assert len(caught) == 1
    assert journal.log.trials == [*whole.trials, trial(9, 3.0)]


@given(st.data())
def test_no_change_of_bytes_crashes_the_reader(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        with Journal.open(path) as journal:
            header = path.stat().st_size
            journal.append(trial(4, 1.5, features={"registers": 28.0}))
            journal.append(race({4: 1.5, 3: 1.25}))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(header, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log = read_journal(path)
    assert len(log.trials) <= 1
    assert len(log.races) <= 1


def test_a_damaged_definition_is_written_again(filled: Path) -> None:
    whole = read_journal(filled)
    filled.write_bytes(filled.read_bytes().replace(b"[16,64,56,56]", b"[16,64,56,57]", 1))
    with pytest.warns(UserWarning, match="4 lines were skipped"):
        journal = Journal.open(filled)
    assert [each.workload for each in journal.log.trials] == [POOL]
    journal.append(trial(8, 4.0))
    journal.close()
    with pytest.warns(UserWarning, match="1 line was skipped"):
        assert read_journal(filled).trials == [*whole.trials, trial(8, 4.0)]


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"hello",
        b"\x7fELF\x00\x01\x02\n\n",
        b"[]\n",
        b"\n\n",
        b'{"schema":1}\n{}\n',
        b"\x00" * 99,
        b'{"type":"header","schema":true}\n',
    ],
)
def test_what_is_no_journal_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SparsegenError, match=rf"{path} is no journal: it begins with"):
        read_journal(path)
    with pytest.raises(SparsegenError, match=rf"{path} is no journal: it begins with"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    content = '{"type":"header","schema":2}\n{"type":"tria'
    path.write_text(content)
    for reader in (read_journal, Journal.open):
        with pytest.raises(SparsegenError, match=r"schema 2, .* reads those up to 1: install a newer"):
            reader(path)
    assert path.read_text() == content


def test_an_empty_file_is_an_empty_journal(path: Path) -> None:
    path.touch()
    assert read_journal(path) == Log()
    with Journal.open(path) as journal:
        journal.append(trial(4, 1.0))
    assert read_journal(path).trials == [trial(4, 1.0)]


@pytest.mark.parametrize("written", [0, 5])
def test_a_new_journal_is_in_its_folder_for_good(
    path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the one that made it was killed before it had written the header."""
    path.write_bytes(b'{"type":"header","schema":1}'[:written])
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda each: synced.append(stat.S_ISDIR(os.fstat(each).st_mode)))
    for expected in ([False, True], []):  # the header, then the folder; after that neither
        with Journal.open(path):
            assert synced == expected
        synced.clear()


def test_journals_put_together_are_one(filled: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.jsonl"
    both.write_bytes(filled.read_bytes() * 2)
    once, twice = read_journal(filled), read_journal(both)
    assert (twice.trials, twice.races, twice.skipped) == (once.trials * 2, once.races * 2, [])


def test_paths_that_cannot_be(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in (read_journal, Journal.open):
        with pytest.raises(JournalError, match="is a folder: give the path of a file"):
            reader(tmp_path)
    with pytest.raises(JournalError, match=r"there is no folder .*absent; create it first"):
        Journal.open(tmp_path / "absent" / "log.jsonl")
    with pytest.raises(JournalError, match=r"cannot read .*log\.jsonl: No such file"):
        read_journal(path)
    with pytest.raises(JournalError, match="is no ordinary file"):
        Journal.open("/dev/null")
    # Whoever runs the tests may be root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(JournalError, match="cannot be written: choose another path, or allow"):
        Journal.open(path)
    assert not path.exists()


def test_a_closed_journal_takes_nothing(path: Path) -> None:
    with Journal.open(path) as journal:
        pass
    with pytest.raises(ValueError, match="is closed"):
        journal.append(trial(4, 1.0))


def test_times_that_are_not_finite_are_not_written(path: Path) -> None:
    with Journal.open(path) as journal, pytest.raises(ValueError, match="JSON compliant"):
        journal.append(trial(4, math.inf))
    assert read_journal(path) == Log()


def test_the_documented_example_is_a_journal(path: Path) -> None:
    text = (ROOT / "tuning_logs" / "README.md").read_text()
    path.write_text("".join(line for line in text.splitlines(keepends=True) if line.startswith("{")))
    log = read_journal(path)
    assert [each.status for each in log.trials] == ["ok", "crash"]
    assert (len(log.races), log.skipped) == (1, [])
