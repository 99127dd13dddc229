"""Files that are measured: instances on cores of their own, and no process left, however it goes."""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sparsegen_runtime.errors import OutOfMemoryError

from sparsegen.errors import (
    MeasurementError,
    NeedsTorchError,
    OptionError,
    ProgramError,
    SparsegenError,
)
from sparsegen.packaging.bench import instance, instances, run
from sparsegen.packaging.bench.options import BenchOptions
from sparsegen.packaging.bench.report import BenchReport
from sparsegen.packaging.bench.run import bench_file

CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without much of a warm-up and of a look at other work; nothing is left running."""
    monkeypatch.setattr(instance, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(run, "warn_of_noise", lambda: ("a warning",))
    yield
    assert not multiprocessing.active_children()


def bench(file: Path, **options: Any) -> BenchReport:
    return bench_file(file, BenchOptions(**{"seconds": 0.05, **options}))


def test_each_instance_has_cores_of_its_own(file: Path) -> None:
    many = min(2, len(CORES))
    found = bench(file, instances=many, threads=1)
    assert [each.cores for each in found.instances] == [(core,) for core in CORES[:many]]
    for each in found.instances:
        assert each.warm_up_calls == instance.WARM_UP_CALLS
        assert each.calls > 10
        assert 0.04 < each.seconds < 1
        assert 0 < each.latency_ms.p50 <= each.latency_ms.p99 <= each.latency_ms.max
        assert each.memory is not None
        assert each.memory.own < each.memory.rss
    assert found.calls_per_second > 100
    assert (found.target, found.threads, found.compiled_threads) == ("haswell", 1, 2)
    assert (found.machine.cores, found.warnings) == (len(CORES), ("a warning",))
    assert found.machine.cpu


def test_the_batch_chooses_the_variant(file: Path) -> None:
    assert bench(file, threads=1).input_shapes == ((4,),)
    chosen = bench(file, threads=1, batch=2)
    assert (chosen.batch, chosen.input_shapes) == (2, ((2,),))
    with pytest.raises(OptionError, match=r"has no variant for a batch of 3: it has 2, 4; compile it"):
        bench(file, threads=1, batch=3)


@pytest.mark.skipif(len(CORES) < 2, reason="threads have cores of their own")
def test_threads_are_those_that_are_asked_for(file: Path) -> None:
    found = bench(file, threads=2)
    assert (found.threads, found.instances[0].cores) == (2, tuple(CORES[:2]))


def test_progress_is_told(file: Path) -> None:
    told: list[tuple[str, int, int]] = []
    bench_file(file, BenchOptions(seconds=1.2, threads=1), lambda *step: told.append(step))
    texts = [text for text, _, _ in told]
    assert texts[:2] == ["warming up 1 instance", "measuring for 1.2 s"]
    assert all(text.startswith("measuring: ") for text in texts[2:])
    assert 1 <= len(texts[2:]) <= 2
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert all(total == 4 for _, _, total in told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.0}, "seconds is 0: give a finite number above 0"),
        ({"seconds": -1.0}, "seconds is -1"),
        ({"seconds": math.nan}, "seconds is nan"),
        ({"seconds": math.inf}, "seconds is inf"),
        ({"instances": 0}, "instances is 0: give at least 1"),
        ({"threads": 0}, "threads is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"instances": len(CORES) + 1, "threads": 1}, "give fewer --instances or --threads"),
        (
            {"instances": 1, "threads": len(CORES) + 1},
            f"take {len(CORES) + 1} cores, and this process may use",
        ),
    ],
)
def test_options_that_cannot_be(file: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        bench(file, **options)


def test_the_file_is_looked_at_before_anything_is_told(tmp_path: Path) -> None:
    told: list[object] = []
    with pytest.raises(ProgramError):
        bench_file(tmp_path / "none", BenchOptions(threads=1), lambda *step: told.append(step))
    assert not told


def test_files_that_cannot_be_measured(with_torch: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no model at all, but a text of some length")
    with pytest.raises(ProgramError, match="no file that sparsegen wrote"):
        bench(text)
    with pytest.raises(NeedsTorchError, match=r"torch.sparsegen: torch computes some .* --fallback error"):
        bench(with_torch)


def ended(how: Callable[[], object]) -> Callable[..., None]:
    """An instance, the first of which ends so while it is measured; others would run for a minute."""
    serve = instances.serve

    def serve_or_end(connection: Any, task: Any, place: int, cores: Any) -> None:
        if place == 0:
            connection.send(instance.Ready(0, None))
            connection.recv()
            how()
        serve(connection, task, place, cores)

    return serve_or_end


def crash() -> None:
    faulthandler.disable()  # which would print to the tests' own output
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda: os._exit(3), "its process ended with status 3; the others were stopped"),
        (lambda: os._exit(0), "its process ended with status 0"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"ended by SIGKILL \(status -9\), as the system does"),
        (crash, r"ended by SIGSEGV \(status -11\);"),
    ],
)
def test_an_instance_that_dies_stops_all(
    file: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[], object], message: str
) -> None:
    monkeypatch.setattr(instances, "serve", ended(how))
    many = min(2, len(CORES))
    with pytest.raises(MeasurementError, match=f"instance 1 of {many} failed: .*{message}"):
        bench(file, instances=many, threads=1, seconds=60.0)


@pytest.mark.parametrize("error", [OutOfMemoryError("no memory is left"), OSError("no memory is left")])
def test_an_instance_that_fails_says_why(
    file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(instance, "_warm_up", fail)
    with pytest.raises(
        SparsegenError, match="instance 1 of 1 failed: no memory is left; the others were stopped"
    ):
        bench(file, threads=1)


def test_a_process_that_cannot_be_started(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(MeasurementError, match="instance 1 cannot be started: Resource temporarily"):
        bench(file, threads=1)


def test_inputs_are_numbers_that_any_model_takes() -> None:
    class Form:
        def __init__(self, dtype: str) -> None:
            self.shape, self.dtype = (2, 3), np.dtype(dtype)

    class Variant:
        inputs = (Form("float32"), Form("float16"), Form("int64"), Form("bool"))

    floats, halves, whole, truths = instance.draw_inputs(Variant())  # type: ignore[arg-type]
    assert floats.std() > 0.1
    assert (floats.dtype, halves.dtype) == (np.float32, np.float16)
    assert not whole.any()
    assert not truths.any()
