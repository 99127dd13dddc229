"""What a measurement comes to: percentiles of all calls, throughput, memory, as a table and as JSON."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sparsegen.packaging.bench import instance
from sparsegen.packaging.bench.instance import Ready, Times, timed
from sparsegen.packaging.bench.memory import Memory, read_memory
from sparsegen.packaging.bench.report import BenchReport, Machine, instance_result, latency
from sparsegen.packaging.bench.table import print_report

MEMORY = Memory(100_000_000, 60_000_000, 8_000_000)


class Clock:
    """A clock that stands still but for calls, the first of which take a second more each."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, 0

    def call(self) -> None:
        self.calls += 1
        self.now += self.calls


def times(*seconds: float, stride: int = 1) -> Times:
    return Times(len(seconds) * stride, sum(seconds), max(seconds), np.array(seconds), stride)


def report(*instances: Times, memory: Memory | None = MEMORY) -> BenchReport:
    """Of instances of two threads."""
    results = [
        instance_result((2 * place, 2 * place + 1), Ready(7, memory), each)
        for place, each in enumerate(instances)
    ]
    return BenchReport(
        path="m.sparsegen",
        target="znver4",
        batch=4,
        threads=2,
        compiled_threads=1,
        input_shapes=((4, 3),),
        seconds=10.0,
        machine=Machine("A CPU", 4, None, (0.5, 0.25, 0.125), "3.11", "2.0"),
        instances=tuple(results),
        latency_ms=latency(instances),
        warnings=("other work",),
    )


def test_calls_are_timed_until_the_end() -> None:
    clock, told = Clock(), list[int]()
    found = timed(clock.call, 0.0, 5.5, told.append, clock=lambda: clock.now)
    assert found.kept.tolist() == [1, 2, 3]  # the last one began before the end
    assert (found.calls, found.seconds, found.longest, found.stride) == (3, 6, 3, 1)
    assert told == [1, 2, 3]
    assert timed(clock.call, 0.0, 0.0, told.append, clock=lambda: clock.now).calls == 1


def test_of_many_calls_every_second_is_kept_and_then_every_fourth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "MOST_TIMES", 4)
    clock = Clock()
    found = timed(clock.call, 0.0, 70.0, lambda calls: None, clock=lambda: clock.now)
    assert (found.calls, found.longest, found.stride) == (12, 12, 4)
    assert found.kept.tolist() == [1, 5, 9]


def test_percentiles_are_of_as_large_a_share_of_each_instance() -> None:
    found = latency([times(*[0.001] * 100), times(*[0.003] * 50, stride=2)])
    assert (found.p50, found.p99, found.max) == pytest.approx((2, 3, 3))
    assert latency([times(*np.linspace(0.001, 0.101, 101))]).p90 == pytest.approx(91)


def test_throughput_of_all_is_until_the_last_one_ends() -> None:
    found = report(times(1, 1), times(1, 1, 2))
    assert [each.calls_per_second for each in found.instances] == [1, 0.75]
    assert found.calls_per_second == 5 / 4


def test_memory_is_told_of_the_first_and_of_each_further_instance() -> None:
    assert (report(times(1)).first_bytes, report(times(1)).further_bytes) == (100_000_000, 8_000_000)
    assert report(times(1), memory=None).first_bytes is None


def test_the_memory_of_this_process(tmp_path: Path) -> None:
    before = read_memory()
    assert before is not None
    held = np.ones(1 << 22)
    after = read_memory()
    assert after is not None
    assert after.rss >= after.own
    assert after.own - before.own == pytest.approx(held.nbytes, rel=0.1)
    (tmp_path / "rollup").write_text("addresses\nRss: 1 kB\n")
    assert read_memory(tmp_path / "rollup") is None
    assert read_memory(tmp_path / "none") is None


def test_the_json_has_all() -> None:
    told = json.loads(report(times(0.002, 0.004), times(0.002, 0.004)).to_json())
    assert told["schema"] == 1
    assert told["machine"]["load"] == [0.5, 0.25, 0.125]
    assert (told["threads"], told["compiled_threads"], told["batch"], told["seconds"]) == (2, 1, 4, 10)
    assert told["memory"] == {"first": 100_000_000, "further": 8_000_000}
    assert told["calls_per_second"] == pytest.approx(4 / 0.006)
    first = told["instances"][0]
    assert first["memory"] == {"rss": 100_000_000, "pss": 60_000_000, "own": 8_000_000}
    assert (first["cores"], first["calls"], first["warm_up_calls"]) == ([0, 1], 2, 7)
    assert first["latency_ms"]["max"] == 4
    assert first["calls_per_second"] == pytest.approx(2 / 0.006)
    assert told["warnings"] == ["other work"]


@pytest.mark.parametrize("width", [80, 160])
def test_the_table(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    print_report(report(times(0.002, 0.004), times(0.002, 0.004)), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]

    def row(first: str) -> list[str]:
        (found,) = re.findall(rf"^ {first} .*$", text, re.MULTILINE)
        return str(found).split()

    assert row("2") == ["2", "2,3", "2", "333.3", "3.00", "3.80", "3.98", "4.00", "100.0", "8.0"]
    assert row("all") == ["all", "4", "666.7", "3.00", "4.00", "4.00", "4.00"]
    assert "10 s after a warm-up of 0.5 s, 7 calls of the first instance; load before: 0.50" in text
    assert "compiled for 1 thread\n" in text
    assert "100.0 MB for the first instance, 8.0 MB for each further one" in text
    assert "(8.0%)" in text
    assert "doubtful: other work" in text
    assert (
        "znver4, batch 4, 2 instances of 2 threads on A CPU: 666.7 calls/s, 2666.7 rows/s, p99 4.00 ms"
        in text
    )
