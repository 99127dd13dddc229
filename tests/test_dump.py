"""What SPARSEGEN_DUMP asks for is written, and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from sparsegen.compiler import compile_graph
from sparsegen.dump import FOLDER, WANTED, graph_text, next_dump
from sparsegen.errors import FileError, OptionError
from sparsegen.graph import Conv2d, Identity, Layer, LayerGraph, Step


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "dump"))
    return tmp_path / "dump"


def test_nothing_is_written_without_being_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WANTED, raising=False)
    next_dump().write("graph", "graph", lambda: pytest.fail("not wanted, yet made"))
    assert not folder.exists()


def test_what_is_asked_for_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WANTED, "graph, asm")
    for number in (1, 2):
        dump = next_dump()
        dump.write("graph", "graph", lambda: "layers")
        dump.write("asm", "kernel_0", lambda: "ret")
        dump.write("tir", "kernel_0", lambda: pytest.fail("not wanted, yet made"))
        assert dump.folder == folder / f"compilation-{number}"
        written = {path.name: path.read_text() for path in dump.folder.iterdir()}
        assert written == {"graph.txt": "layers", "kernel_0.s": "ret"}


def test_an_unknown_kind_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WANTED, "graph,ptx")
    with pytest.raises(OptionError, match="SPARSEGEN_DUMP asks for ptx: it takes graph, tir, llvm, asm"):
        next_dump()


def test_a_folder_that_cannot_be_made_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dump").write_text("a file")
    monkeypatch.setenv(WANTED, "graph")
    with pytest.raises(FileError, match="dump"):
        next_dump()


def test_a_graph_as_text() -> None:
    weight = np.zeros((4, 3, 1, 1), np.float32)
    weight[0] = 1
    conv = Layer("conv", Conv2d(weight, None), ("x",), (1, 4, 8, 8), (Step("add", "shift"), Step("relu")))
    graph = LayerGraph({"x": (1, 3, 8, 8)}, [conv], ("conv",), {"shift": np.ones((4, 1, 1), np.float32)})
    assert graph_text(graph).splitlines() == [
        "input    x: 1x3x8x8",
        "constant shift: 4x1x1",
        "layer    conv: 1x4x8x8 = Conv2d[weight=4x3x1x1 25.0%, bias=None, stride=(1, 1), "
        "padding=(0, 0, 0, 0), dilation=(1, 1), groups=1](x) |> add(shift) |> relu",
        "output   conv",
    ]


def test_a_compilation_writes_what_its_layers_became(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WANTED, "graph,tir,llvm,asm")
    weight = np.random.default_rng(0).standard_normal((8, 8, 3, 3)).astype(np.float32)
    conv = Conv2d(weight * (weight > 0), None, padding=(1, 1, 1, 1))
    layers = [Layer(f"conv{i}", conv, (source,), (1, 8, 8, 8)) for i, source in ((1, "x"), (2, "conv1"))]
    compile_graph(LayerGraph({"x": (1, 8, 8, 8)}, layers, ("conv2",)), threads=1, target="haswell")
    (written,) = folder.iterdir()
    listing = [line.split(maxsplit=3) for line in (written / "kernels.txt").read_text().splitlines()]
    functions = {rest.partition(":")[0]: function for function, _, _, rest in listing}
    assert functions["conv1"] == functions["conv2"]  # equal layers share their code
    assert set(functions) == {"x", "conv1", "conv2", "output 0"}
    assert "layer    conv2" in (written / "graph.txt").read_text()
    code = written / functions["conv1"]
    assert "vfmadd" in code.with_suffix(".s").read_text()
    assert "define" in code.with_suffix(".ll").read_text()
    assert "T.func_attr" in code.with_suffix(".py").read_text()


def test_a_compilation_is_logged_and_silent_by_default(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = LayerGraph({"x": (1, 8)}, [Layer("relu", Identity(), ("x",), (1, 8), (Step("relu"),))], ("relu",))
    with caplog.at_level(logging.DEBUG, logger="sparsegen"):
        compile_graph(graph, threads=1)
    names = ("sparsegen.kernels.plan", "sparsegen.compiler")
    planned, told = ([r.getMessage() for r in caplog.records if r.name == name] for name in names)
    assert planned[0].startswith("1 layers for ")
    assert told[-2].startswith("layer relu: kernel pointwise")
    assert told[-1].startswith("compiled in ")
    assert capfd.readouterr() == ("", "")
