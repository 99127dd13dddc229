"""The real measurer on small layers: every kernel with a space, wrong results, limits, deadlines."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sparsegen.errors import ToolchainError
from sparsegen.graph import AdaptivePool2d, LayerGraph, Pool2d
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.space import KernelSchedule
from sparsegen.target import parse_target
from sparsegen.tuner.jobs import Task, find_tasks
from sparsegen.tuner.measure import candidate, local
from sparsegen.tuner.measure.buffers import filled, logical, prepare
from sparsegen.tuner.measure.candidate import WrongResultError
from sparsegen.tuner.measure.local import LocalMeasurer
from sparsegen.tuner.measure.measurement import Limits
from sparsegen.tuner.search import Sampler
from tests.kernels.contract import LAYERS, conv_graph, single, weights

FOREVER = float("inf")
POOLS = {
    "max pool": single(Pool2d("max", (3, 3), (2, 2), (1, 1, 1, 1)), (16, 5, 9, 9), (16, 5, 5, 5)),
    "adaptive pool": single(AdaptivePool2d("avg", (1, 1)), (1, 5, 7, 7), (1, 5, 1, 1)),
}
GRAPHS: dict[str, LayerGraph] = {
    **{f"{name}, batch {n}": build(n) for name, build in LAYERS.items() for n in (1, 16)},
    "half a batch of lanes": conv_graph(weights((13, 7, 3, 3)), (13, 7, 9, 10), padding=(1, 1, 1, 1)),
    **POOLS,
}
SMALL = conv_graph(weights((16, 16, 3, 3)), (16, 16, 8, 8), padding=(1, 1, 1, 1))


def task_of(graph: LayerGraph) -> Task:
    (task,) = find_tasks(graph, parse_target(), threads=1, dense=False)
    return task


def some(task: Task, count: int) -> list[KernelSchedule]:
    """The default and others."""
    others = itertools.islice(Sampler(task.space, 0).draw({task.space.default}), count - 1)
    return [task.space.default, *others]


@pytest.fixture(scope="module")
def measurer() -> Iterator[LocalMeasurer]:
    measurer = LocalMeasurer(parse_target(), 1, Limits(samples=3, race_samples=5))
    yield measurer
    measurer.close()


@pytest.mark.parametrize("name", GRAPHS)
def test_default_schedules_are_measured_and_right(measurer: LocalMeasurer, name: str) -> None:
    task = task_of(GRAPHS[name])
    (found,) = measurer.measure(task.job, [task.space.default], best_ms=FOREVER, deadline=FOREVER)
    assert (found.status, found.error) == ("ok", "")
    assert len(found.times_ms) >= 3
    assert all(time_ms > 0 for time_ms in found.times_ms)


def test_a_batch_is_measured_in_its_order(measurer: LocalMeasurer) -> None:
    task = task_of(SMALL)
    schedules = some(task, 6)
    found = list(measurer.measure(task.job, schedules, best_ms=FOREVER, deadline=FOREVER))
    assert [each.schedule for each in found] == schedules
    assert {each.status for each in found} == {"ok"}


def test_hopeless_candidates_are_timed_no_further(measurer: LocalMeasurer) -> None:
    task = task_of(SMALL)
    (fair,) = measurer.measure(task.job, [task.space.default], best_ms=FOREVER, deadline=FOREVER)
    (hopeless,) = measurer.measure(task.job, [task.space.default], best_ms=1e-6, deadline=FOREVER)
    assert len(hopeless.times_ms) == 3 < len(fair.times_ms)


def test_nothing_begins_after_the_deadline(measurer: LocalMeasurer) -> None:
    task = task_of(SMALL)
    now = time.monotonic()
    assert list(measurer.measure(task.job, some(task, 3), best_ms=FOREVER, deadline=now)) == []


def test_a_race_times_all_in_turn(measurer: LocalMeasurer) -> None:
    task = task_of(SMALL)
    schedules = some(task, 3)
    raced = measurer.race(task.job, schedules)
    assert [each.schedule for each in raced] == schedules
    assert {(each.status, len(each.times_ms) >= 5) for each in raced} == {("ok", True)}


def test_a_worker_killed_between_and_during_work_costs_its_candidate_alone(measurer: LocalMeasurer) -> None:
    task = task_of(SMALL)
    schedules, statuses = some(task, 8), []
    for i, found in enumerate(measurer.measure(task.job, schedules, best_ms=FOREVER, deadline=FOREVER)):
        statuses.append(found.status)
        if i in (1, 4):
            pid = measurer._runner.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
    assert len(statuses) == 8
    assert statuses.count("ok") >= 6
    assert set(statuses) <= {"ok", "memory"}  # a worker killed while it waits is only started again


def test_a_build_that_fails_is_a_record(measurer: LocalMeasurer) -> None:
    task = task_of(SMALL)
    unknown = PanelSchedule(rows=1, tile_h=1, tile_w=1, block=4, chunk=1, format="none")
    (found,) = measurer.measure(task.job, [unknown], best_ms=FOREVER, deadline=FOREVER)
    assert found.status == "build error"
    assert "there is no format 'none', but" in found.error


def test_a_build_that_takes_too_long_is_a_record() -> None:
    task = task_of(SMALL)
    hasty = LocalMeasurer(parse_target(), 1, Limits(build_s=0.01))
    (found,) = hasty.measure(task.job, [task.space.default], best_ms=FOREVER, deadline=FOREVER)
    hasty.close()
    assert (found.status, found.error) == ("timeout", "build took longer than 0.01 s")


def test_builds_go_on_beside_a_running_kernel_where_cores_are_to_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("it takes two cores to keep builds from the running kernel")
    monkeypatch.setattr(local, "_SPARE", 1)
    task = task_of(SMALL)
    apart = LocalMeasurer(parse_target(), 1)
    found = list(apart.measure(task.job, some(task, 5), best_ms=FOREVER, deadline=FOREVER))
    kept_to = os.sched_getaffinity(apart._runner.pid or 0)
    apart.close()
    assert [each.status for each in found] == ["ok"] * 5
    assert kept_to == {cores[0]}


def test_wrong_results_are_found(tmp_path: Path) -> None:
    task = task_of(SMALL)
    job = tmp_path / "job"
    job.write_bytes(pickle.dumps(task.job))
    candidate.prepare_case(job)
    built = candidate.build(job, task.space.default, tmp_path, "kernel")
    (times,) = candidate.run(job, [built], 1, 3, FOREVER)
    assert len(times) >= 3
    with np.load(built.arrays) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["arr_0"][0] += 1.0  # one weight
    np.savez(built.arrays, **arrays)
    with pytest.raises(WrongResultError, match="of the largest value"):
        candidate.run(job, [built], 1, 3, FOREVER)


@pytest.mark.parametrize(
    "name", ["3x3, batch 1", "3x3, batch 16", "half a batch of lanes", "linear, batch 16"]
)
def test_buffers_hold_what_was_put_in(name: str) -> None:
    task = task_of(GRAPHS[name])
    case = prepare(task.job)
    buffer = filled(case.expected, case.out)
    assert case.accepts(buffer)
    assert np.array_equal(logical(buffer, case.out).numpy(), case.expected.numpy())
    buffer[0, case.out.base] += 1.0
    assert not case.accepts(buffer)


def test_layers_of_one_workload_are_one_task() -> None:
    weight = weights((8, 8, 3, 3))
    first = conv_graph(weight, (16, 8, 8, 8), padding=(1, 1, 1, 1)).layers[0]
    layers = [
        type(first)(f"conv{i}", first.core, (f"conv{i - 1}" if i else "x",), first.shape) for i in range(3)
    ]
    graph = LayerGraph({"x": (16, 8, 8, 8)}, layers, ("conv2",))
    (task,) = find_tasks(graph, parse_target(), threads=1, dense=False)
    assert task.layers == ("conv0", "conv1", "conv2")
    (dense,) = find_tasks(graph, parse_target(), threads=1, dense=True)
    assert (dense.workload.structure, dense.workload.density) == ("dense", 1.0)


def test_without_gcc_tuning_stops_instead_of_failing_every_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(SMALL)
    monkeypatch.setenv("PATH", "/nowhere")  # which workers inherit
    measurer = LocalMeasurer(parse_target(), 1)
    with pytest.raises(ToolchainError, match="needs gcc, which is not on the PATH"):
        list(measurer.measure(task.job, some(task, 3), best_ms=FOREVER, deadline=FOREVER))
    measurer.close()
    assert not measurer._builders.path.exists()


def test_a_temporary_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(ToolchainError, match=r"\(Not a directory\); .*TMPDIR"):
        LocalMeasurer(parse_target(), 1)


def test_a_folder_that_fills_up_is_no_fault_of_the_schedule(tmp_path: Path) -> None:
    task = task_of(SMALL)
    job = tmp_path / "job"
    job.write_bytes(pickle.dumps(task.job))
    with pytest.raises(ToolchainError, match="a temporary file cannot be written"):
        candidate.build(job, task.space.default, tmp_path / "gone", "kernel")
