"""Journals when processes meet or are killed, and when disks are full or read-only."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from pathlib import Path
from typing import TextIO

import pytest

from sparsegen.database import journal as module
from sparsegen.database.journal import Journal, read_journal
from sparsegen.errors import SparsegenError
from tests.database import appender
from tests.database.records import POOL, trial
from tests.preloaded import run, start

LIMITED = """
import resource, runpy, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
runpy.run_module("tests.database.appender", run_name="__main__")
"""


def test_a_read_only_file_system_is_a_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SparsegenError, match=r"cannot write .*log\.jsonl: Read-only file system"):
        Journal.open(path)


def test_a_second_process_is_refused_and_reading_is_not(path: Path) -> None:
    appending = start("-m", "tests.database.appender", str(path))
    try:
        until = time.monotonic() + 60
        while "\n" not in appending.output:
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(SparsegenError, match=rf"in use by another process \(pid {appending.pid}\): "):
            Journal.open(path)
        assert read_journal(path).trials[0].seed == 0
    finally:
        appending.process.kill()
        appending.process.wait()
    with Journal.open(path), pytest.raises(SparsegenError, match="in use by this process"):
        Journal.open(path)


def append_until_killed(path: Path) -> tuple[int, TextIO]:
    """Fork a child that appends trials, and prints each one's seed: the child and what it prints."""
    output, its_output = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(its_output, 1)
        appender.append(path, print_to=os.fdopen(1, "w"))
    os.close(its_output)
    return child, os.fdopen(output)


def test_killed_at_random_moments_nothing_is_lost_nor_twice(path: Path) -> None:
    promised: list[int] = []
    chance = random.Random(4)
    for _ in range(20):
        child, printed = append_until_killed(path)
        with printed:
            promised.append(int(printed.readline()))
            time.sleep(0.02 * chance.random())
            os.kill(child, signal.SIGKILL)
            promised += [int(line) for line in printed if line.endswith("\n")]
        os.waitpid(child, 0)
    seeds = [each.seed for each in read_journal(path).trials]
    assert seeds == list(range(len(seeds)))
    # The one that was written as the process was killed may be there although it was not promised.
    assert set(promised) <= set(seeds)
    assert len(promised) == len(set(promised)) >= 20
    assert len(seeds) <= len(promised) + 20


def test_children_do_not_hold_the_lock(path: Path) -> None:
    with Journal.open(path):
        inherited, its_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(its_end, b"forked")
            signal.pause()
            os._exit(0)
        os.read(inherited, 6)
    try:
        with Journal.open(path) as journal:
            journal.append(trial(4, 1.0))
        assert len(read_journal(path).trials) == 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(inherited)
        os.close(its_end)


def test_a_full_disk_stops_with_a_message_and_a_whole_log(path: Path) -> None:
    done = run("-c", LIMITED, str(path))
    assert done.returncode == 1
    assert f"JournalError: cannot write {path}: File too large" in done.stderr
    promised = [int(seed) for seed in done.stdout.split()]
    assert len(promised) > 5
    assert [each.seed for each in read_journal(path).trials] == promised
    assert path.read_bytes().endswith(b"\n")
    with Journal.open(path) as journal:
        journal.append(trial(9, 3.0))


def test_a_write_that_fails_leaves_the_journal_usable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def fill_up(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return write(descriptor, data[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal.open(path) as journal:
        journal.append(trial(4, 1.0))
        size, cut = path.stat().st_size, os.ftruncate
        monkeypatch.setattr(module.os, "write", fill_up)
        with pytest.raises(SparsegenError, match=r"cannot write .*log\.jsonl: the disk is full; everything"):
            journal.append(trial(5, 2.0, workload=POOL))
        assert path.stat().st_size == size
        monkeypatch.setattr(module.os, "ftruncate", lambda *_: os.close(-1))
        with pytest.raises(SparsegenError, match="the disk is full"):
            journal.append(trial(5, 2.0, workload=POOL))
        assert path.stat().st_size > size
        monkeypatch.setattr(module.os, "write", write)
        monkeypatch.setattr(module.os, "ftruncate", cut)
        journal.append(trial(5, 2.0, workload=POOL))
        assert journal.log.trials == [trial(4, 1.0), trial(5, 2.0, workload=POOL)]
    log = read_journal(path)
    assert (log.trials, log.skipped) == (journal.log.trials, [])
