"""Models compiled with a database: each layer's schedule, and where it came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsegen.compiler import compile, compile_graph
from sparsegen.database import assign
from sparsegen.database.assign import as_database
from sparsegen.database.exported import export_schedules
from sparsegen.database.journal import Journal, read_journal
from sparsegen.database.lookup import Database
from sparsegen.database.trial import Trial
from sparsegen.database.workload import setting_here, workload_of
from sparsegen.errors import SparsegenError
from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, Layer, LayerGraph, Step
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import space_of
from sparsegen.kernels.space import Point, Space
from sparsegen.runtime.model import CompiledModel
from sparsegen.runtime.program import LayerReport
from sparsegen.target import parse_target
from tests.cli.networks import small


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """Two convolutions, `2` and `4`, half of whose weights are zero."""
    model = small().eval()
    with torch.no_grad():
        for name in ("2", "4"):
            weight = model.get_parameter(f"{name}.weight")
            weight *= torch.rand(weight.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    return model


@pytest.fixture(scope="module")
def graph(model: torch.nn.Module, x: torch.Tensor) -> LayerGraph:
    return from_torch(model, (x,))


def space(graph: LayerGraph, name: str) -> Space:
    plan = plan_graph(graph, threads=1, target=parse_target())
    found = space_of(plan.layer(name), plan.context)
    assert found is not None
    return found


def another(graph: LayerGraph, name: str) -> Point:
    """A legal schedule of a layer that is not its default."""
    schedules = space(graph, name)
    other = next(each for each in schedules.schedules() if each != schedules.default).as_dict()
    return {knob: other[knob] for knob in schedules.knobs}


def measured(graph: LayerGraph, name: str, *, density: float | None = None, **fields: Any) -> Trial:
    """A trial of that schedule, for the layer's workload or for one of another density."""
    layer = next(layer for layer in graph.layers if layer.name == name)
    workload = workload_of(layer, graph.shapes()[layer.inputs[0]], batch_lanes=False)
    assert workload is not None
    workload = workload if density is None else replace(workload, density=density)
    setting = replace(setting_here(parse_target(), 1), **fields)
    return Trial(workload, setting, "panels", another(graph, name), "ok", (1.0,))


@pytest.fixture
def journal(graph: LayerGraph, tmp_path: Path) -> Path:
    """The very workload of layer `2`, and one like that of layer `4`."""
    path = tmp_path / "log.jsonl"
    density = float(np.count_nonzero(conv_weight(graph, "4"))) / conv_weight(graph, "4").size
    with Journal.open(path) as log:
        log.append(measured(graph, "2"))
        log.append(measured(graph, "4", density=round(0.9 * density, 2)))
    return path


def conv_weight(graph: LayerGraph, name: str) -> Any:
    return next(layer.core.weight for layer in graph.layers if layer.name == name)  # type: ignore[union-attr]


def report(compiled: CompiledModel, name: str) -> LayerReport:
    return next(report for report in compiled.layers if report.name == name)


def sources(compiled: CompiledModel) -> dict[str, str]:
    return {report.name: report.schedule_source for report in compiled.layers if report.name in "024"}


@pytest.mark.parametrize("exported", [False, True])
def test_layers_take_tuned_schedules_and_say_so(
    model: torch.nn.Module, x: torch.Tensor, graph: LayerGraph, journal: Path, exported: bool
) -> None:
    path = journal
    if exported:
        path = journal.with_name("family.json")
        export_schedules(read_journal(journal), setting_here(parse_target(), 1), path)
    compiled = compile(model, (x,), threads=1, database=str(path))
    assert sources(compiled) == {"0": "default", "2": "tuned", "4": "nearest"}
    for name in ("2", "4"):
        assert report(compiled, name).schedule.items() >= another(graph, name).items()
    assert {each.schedule_source for each in compiled.layers if not each.schedule} == {""}
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def test_schedules_given_by_hand_go_first(graph: LayerGraph, journal: Path) -> None:
    default = space(graph, "2").default
    database = Database.read(journal)
    compiled = compile_graph(graph, threads=1, schedules={"2": default}, database=database)
    assert sources(compiled) == {"0": "default", "2": "given", "4": "nearest"}
    assert report(compiled, "2").schedule == default.as_dict()


@pytest.mark.parametrize("threads", [1, 2])
def test_dense_kernels_and_other_threads_take_nothing(
    graph: LayerGraph, journal: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "shipped", classmethod(lambda cls: cls()))
    if threads == 2:
        # Nor is time lost where nothing can be found.
        monkeypatch.setattr(assign, "space_of", lambda *_: pytest.fail("made a space"))
    compiled = compile_graph(graph, threads=threads, dense=threads == 1, database=journal)
    assert sources(compiled) == {"0": "default", "2": "default", "4": "default"}


def test_without_a_database_all_schedules_are_default(graph: LayerGraph, journal: Path) -> None:
    compiled = compile_graph(graph, threads=1, database=None)
    assert sources(compiled) == {"0": "default", "2": "default", "4": "default"}
    assert report(compiled, "2").schedule == space(graph, "2").default.as_dict()


def test_what_stands_for_a_database(journal: Path) -> None:
    shipped = Database.shipped()
    assert as_database("shipped") is shipped
    assert as_database(shipped) is shipped
    assert as_database(None).schedules == ()
    both = as_database(journal)
    assert [source.name for source in both.sources] == [
        str(journal),
        *(source.name for source in shipped.sources),
    ]
    with pytest.raises(SparsegenError, match="database is a int: give 'shipped', the path"):
        as_database(7)  # type: ignore[arg-type]


def test_a_database_that_cannot_be_read_is_an_error_before_the_work(
    model: torch.nn.Module, x: torch.Tensor
) -> None:
    with pytest.raises(SparsegenError, match="cannot read absent"):
        compile(model, (x,), database="absent.jsonl")


@pytest.mark.parametrize(
    ("size", "added", "batch_lanes", "expected"),
    [(1, True, True, False), (1, True, False, True), (1, False, True, True), (3, True, True, True)],
    ids=["residual", "pixel lanes", "alone", "3x3"],
)
def test_pointwise_layers_that_wait_for_a_residual_are_no_workload(
    size: int, added: bool, batch_lanes: bool, expected: bool
) -> None:
    conv = Conv2d(np.ones((8, 8, size, size), np.float32), None, padding=(size // 2,) * 4)
    steps = (Step("add", "x"),) if added else ()
    layer = Layer("layer", conv, ("x",), (16, 8, 6, 6), steps)
    assert (workload_of(layer, (16, 8, 6, 6), batch_lanes=batch_lanes) is not None) is expected


@pytest.mark.parametrize("zeros", [1, 10])
def test_a_handful_of_zeros_is_the_workload_without_any(zeros: int) -> None:
    weight = np.ones((32, 16, 3, 3), np.float32)
    few = weight.copy()
    few.flat[:zeros] = 0
    dense, found = (
        workload_of(Layer("conv", Conv2d(each, None), ("x",), (8, 32, 4, 4)), (8, 16, 6, 6), batch_lanes=True)
        for each in (weight, few)
    )
    assert found == dense
    assert found is not None
    assert (found.structure, found.density) == ("dense", 1.0)
